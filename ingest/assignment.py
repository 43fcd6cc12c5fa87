"""What a keeper is given to keep: a trigger as deployed, with its broker."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from shared.definitions import Broker, Trigger, Variable
from shared.left import Wish
from shared.secrets import SecretBox
from shared.values import MASKED_CHARACTERS, VARIABLE, Values, broker_references


class Assignment(msgspec.Struct, frozen=True):
    """A trigger as deployed, its version, its broker, and those of the variables that the broker names which are there.

    `deployment` is the number of the newest one that is known.

    With a `wish` it is a session that was left behind, with the trigger that it had, at the broker where it is.
    Nothing in it is secret: variables are sealed, and the broker's texts are `$var:` references.
    """

    trigger: Trigger
    version: str
    broker: Broker
    variables: Mapping[str, Variable] = {}
    broker_version: str = ""
    wish: Wish | None = None
    deployment: int = 0

    @property
    def connection(self) -> tuple[object, ...]:
        """All that a connection depends on: if it changes, the session is connected anew."""
        trigger = self.trigger
        return (
            self.broker,
            self.variables,
            trigger.path,
            trigger.client_id,
            trigger.client_version,
            trigger.clean_start,
            trigger.session_expiry_interval,
            trigger.topic_alias_maximum,
            trigger.receive_maximum,
            trigger.keep_alive_s,
            trigger.max_payload,
            any(topic.qos for topic in trigger.topics),
        )

    def resolved_broker(self, box: SecretBox) -> Broker:
        """The broker with the values of its variables. Raises UnknownReference, SecretError."""
        return resolved(self.broker, self.variables, box)

    def hidden(self, text: str, found: Broker) -> str:
        """A text about the resolved broker that may be logged."""
        return hidden(text, self.broker, found)


def resolved(broker: Broker, variables: Mapping[str, Variable], box: SecretBox) -> Broker:
    """A broker with the values of its variables. Raises UnknownReference, SecretError."""
    values = Values(variables, {}, box)
    found = {field: values.variable(path) for field, path in broker_references(broker)}
    return msgspec.structs.replace(broker, **found)


def hidden(text: str, broker: Broker, found: Broker) -> str:
    """A text about the broker, which was resolved to `found`, that may be logged: a value that came from a variable is
    its reference again.
    """
    for field, path in broker_references(broker):
        value = getattr(found, field)
        if len(value) >= MASKED_CHARACTERS or field == "host":
            text = text.replace(value, VARIABLE + path)
    return text
