"""`headrace.yaml`: what holds for the whole workspace."""

from __future__ import annotations

import msgspec

from shared.definitions import Retention
from shared.workspace.alerts import AlertsEntry, read_alerts
from shared.workspace.dead_topic import DeadTopicEntry, read_dead_topic
from shared.workspace.layout import DEFAULTS
from shared.workspace.problems import Problems
from shared.workspace.references import Reference
from shared.workspace.retention import read_retention
from shared.workspace.retries import HandlerEntry, read_handler
from shared.workspace.yaml_lines import read_yaml


class Defaults(msgspec.Struct, frozen=True):
    """Error handler and retention of triggers that have none of their own, where dead letters are told of, and who is
    told of trouble.
    """

    handler: HandlerEntry | None = None
    retention: Retention | None = None
    alerts: AlertsEntry | None = None
    dead: DeadTopicEntry | None = None

    @property
    def references(self) -> list[Reference]:
        """What its texts refer to, but for the error handler's."""
        return [] if self.alerts is None else self.alerts.references


def read_defaults(text: str, problems: Problems) -> Defaults:
    """What the file says; nothing, and problems, where it cannot be read."""
    if (table := read_yaml(DEFAULTS, text, problems)) is None:
        return Defaults()
    handler = read_handler(table, "error_handler", "error_handler_args")
    found = Defaults(handler, read_retention(table), read_alerts(table), read_dead_topic(table))
    table.close()
    return found
