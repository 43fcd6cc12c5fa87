"""The plan that makes an older deployment current again. Pure: what was deployed and what is are handed in."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from shared.definitions import Definition, File, Trigger
from shared.errors import WorkspaceError
from shared.workspace.changes import Change, Item, compare, item_of, shown_changes, shown_items
from shared.workspace.checks import client_id_clashes
from shared.workspace.flows import flow_of_key
from shared.workspace.layout import TRIGGER
from shared.workspace.plan import Current, Plan
from shared.workspace.problems import Problems
from shared.workspace.yaml_lines import read_yaml


class Then(msgspec.Struct, frozen=True):
    """A deployment to go back to.

    `last` are the triggers that it has and that are not deployed now, as they were deployed last.
    """

    current: Current
    files: Mapping[str, File]
    last: Mapping[str, Trigger]


def make_rollback(then: Then, now: Current, new_session: Callable[[], str]) -> Plan:
    """Everything as it was, but for the identity of triggers.

    The session of a path is the one that it has now, or had last: a broker knows it by a client id, and what an older
    one remembers of its subscriptions may be false. A client id that the file names counts. Raises WorkspaceError where
    two triggers would end each other's session.
    """
    was = then.current
    triggers = _triggers(then, now, new_session)
    for first, second in client_id_clashes(triggers, was.brokers):
        message = f"{first.path} and {second.path} would have the client id {second.client_id!r}, on the same broker"
        raise WorkspaceError(message, hint="push a folder in which they differ")
    holders = {trigger.session: path for path, trigger in now.triggers.items() if path not in was.triggers}
    moved = {
        trigger.path: holders[trigger.session]
        for trigger in triggers
        if trigger.path not in now.triggers and trigger.session in holders
    }
    tables = was.variables, was.resources, was.brokers, was.scripts, was.flows
    wanted: list[Definition] = [definition for table in tables for definition in table.values()]
    found = compare([*wanted, *triggers, *then.files.values()], now.deployed.versions, now.record, moved)
    deleted = [item_of(name) for name in sorted(now.deployed.versions.keys() - was.deployed.versions.keys())]
    left = {Item("trigger", path) for path in moved.values()}
    changes = found.changes + [Change("deleted", item.kind, item.path) for item in deleted if item not in left]
    return Plan(
        against=now.deployed.number, changes=shown_changes(changes, _files_of(was)),
        unchanged=shown_items([item for item in found.unchanged if item.kind != "file"]), kept=[], warnings=[],
        definitions=found.definitions, changed=found.changed, deleted=[item.name for item in deleted],
    )  # fmt: skip


def _files_of(was: Current) -> dict[str, set[str]]:
    """By the name of a script or flow the files that it is made of."""
    found = {f"script:{path}": set(script.modules) for path, script in was.scripts.items()}
    for key, script in was.code.items():
        found.setdefault(f"flow:{flow_of_key(key)}", set()).update(script.modules)
    return found


def _triggers(then: Then, now: Current, new_session: Callable[[], str]) -> list[Trigger]:
    """Those that are deployed now choose first."""
    triggers = then.current.triggers
    taken: set[str] = set()
    client_ids: set[str] = set()
    found: list[Trigger] = []
    for path in sorted(triggers, key=lambda path: (path not in now.triggers, path)):
        trigger = triggers[path]
        known = now.triggers.get(path) or then.last.get(path, trigger)
        session, client_id = known.session, _own_client_id(then, path) or known.client_id
        if session in taken:
            session = new_session()
            if client_id in client_ids and not _own_client_id(then, path):
                client_id = f"{client_id}-{session}"
        taken.add(session)
        client_ids.add(client_id)
        found.append(msgspec.structs.replace(trigger, session=session, client_id=client_id))
    return found


def _own_client_id(then: Then, path: str) -> str | None:
    """The one that the trigger's file names."""
    file = then.files.get(path + TRIGGER)
    table = read_yaml(file.path, file.text, Problems()) if file else None
    return table.text("client_id") if table else None
