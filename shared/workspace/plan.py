"""What a deployment would change: a workspace against what is deployed. Pure: identities are handed in.

A trigger keeps its session and client id for as long as it is deployed under its path; one that moved to another path
in the same push that deletes the old one takes them along.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import msgspec

from shared.definitions import Broker, Definition, Kind, Runnable, Script, Trigger, encode_definition, kind_of
from shared.deployment import Deployed
from shared.workspace import Workspace
from shared.workspace.checks import client_id_clashes
from shared.workspace.problems import Problem, Problems
from shared.workspace.triggers import TriggerFile

Action = Literal["created", "changed", "renamed", "deleted"]


class Current(msgspec.Struct, frozen=True):
    """What is deployed now, and the id of this installation, which new client ids carry."""

    deployed: Deployed
    deployment_id: str
    triggers: dict[str, Trigger]
    scripts: dict[str, Script]
    brokers: dict[str, Broker]


class Item(msgspec.Struct, frozen=True):
    """One definition by name."""

    kind: Kind
    path: str


class Change(msgspec.Struct, frozen=True):
    """What happens to one definition. `details`: the fields or files that differ; `was`: the path it moved from."""

    action: Action
    kind: Kind
    path: str
    details: list[str] = []
    was: str | None = None


class Plan(msgspec.Struct, frozen=True):
    """A deployment before it is made: what people are told, and what the `deploy` verb is given."""

    against: int
    changes: list[Change]
    unchanged: list[Item]
    kept: list[Item]
    warnings: list[Problem]
    definitions: dict[str, bytes]
    changed: dict[str, str]
    deleted: list[str]


def make_plan(
    workspace: Workspace, current: Current, default_timeout_s: float, new_session: Callable[[], str], *, prune: bool
) -> Plan:
    """The plan that makes a workspace current; what the folder does not hold is deleted only to `prune`.

    Raises WorkspaceError where a trigger of the folder and one that is kept would end each other's session.
    """
    problems = Problems()
    moved = _moved(workspace.triggers, current)
    renames = moved if prune else {}
    triggers = _assemble(workspace, current, renames, default_timeout_s, new_session)
    wanted: list[Definition] = [*workspace.brokers.values(), *workspace.scripts.values(), *triggers]
    names = {f"{kind_of(definition)}:{definition.path}" for definition in wanted}
    gone = [_split(name) for name in sorted(current.deployed.versions.keys() - names)]
    if not prune:
        _check_kept(workspace, current, triggers, problems)
        _warn_of_doubles(workspace, moved, problems)
    problems.check("the workspace beside what is deployed")
    changes, unchanged, definitions, changed = _compare(wanted, current, renames)
    if prune:
        left = {Item("trigger", path) for path in renames.values()}
        changes += [Change("deleted", item.kind, item.path) for item in gone if item not in left]
    return Plan(
        against=current.deployed.number, changes=changes, unchanged=unchanged, kept=[] if prune else gone,
        warnings=[*workspace.warnings, *problems.warnings], definitions=definitions, changed=changed,
        deleted=[f"{item.kind}:{item.path}" for item in gone] if prune else [],
    )  # fmt: skip


def _assemble(
    workspace: Workspace,
    current: Current,
    moved: Mapping[str, str],
    default_timeout_s: float,
    new_session: Callable[[], str],
) -> list[Trigger]:
    """The triggers as they will be deployed: with session, client id and the versions of what they run."""
    versions = {path: encode_definition(script)[0] for path, script in workspace.scripts.items()}
    triggers: list[Trigger] = []
    for file in workspace.triggers:
        runnables = {}
        for path in file.runnables:
            timeout_s = file.timeout_s or workspace.scripts[path].timeout_s or default_timeout_s
            runnables[path] = Runnable(path, versions[path], math.ceil(timeout_s))
        path = file.trigger.path
        before = current.triggers.get(path) or current.triggers.get(moved.get(path, ""))
        session = before.session if before else new_session()
        client_id = file.trigger.client_id or (before.client_id if before else "")
        if not client_id:
            client_id = f"headrace-{current.deployment_id}-{path.replace('/', '-')}"
            if any(client_id == other.client_id for other in [*triggers, *current.triggers.values()]):
                client_id += f"-{session}"
        triggers.append(
            msgspec.structs.replace(file.trigger, session=session, client_id=client_id, runnables=runnables)
        )
    return triggers


def _compare(
    wanted: Iterable[Definition], current: Current, moved: Mapping[str, str]
) -> tuple[list[Change], list[Item], dict[str, bytes], dict[str, str]]:
    """Changes, what stays as it is, new definitions by version, new entries of the table."""
    changes: list[Change] = []
    unchanged: list[Item] = []
    definitions: dict[str, bytes] = {}
    changed: dict[str, str] = {}
    for definition in wanted:
        kind, path = kind_of(definition), definition.path
        version, blob = encode_definition(definition)
        name = f"{kind}:{path}"
        if current.deployed.versions.get(name) == version:
            unchanged.append(Item(kind, path))
            continue
        definitions[version], changed[name] = blob, version
        before = _before(kind, path, current)
        if before is not None:
            changes.append(Change("changed", kind, path, _differences(before, definition)))
        elif kind == "trigger" and path in moved:
            changes.append(Change("renamed", kind, path, was=moved[path]))
        else:
            changes.append(Change("created", kind, path))
    return changes, unchanged, definitions, changed


def _before(kind: Kind, path: str, current: Current) -> Definition | None:
    tables: dict[Kind, Mapping[str, Definition]] = {
        "trigger": current.triggers,
        "script": current.scripts,
        "broker": current.brokers,
    }
    return tables[kind].get(path)


def _differences(before: Definition, after: Definition) -> list[str]:
    """Names of the fields that differ; of a table (files, runnables) the names of its entries."""
    found: list[str] = []
    for field in after.__struct_fields__:
        old, new = getattr(before, field), getattr(after, field)
        if isinstance(old, dict) and isinstance(new, dict):
            found += [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
        elif old != new:
            found.append(field)
    return found


def _moved(files: Iterable[TriggerFile], current: Current) -> dict[str, str]:
    """New path → old path of triggers that are in the folder under another path and otherwise as deployed."""
    files = list(files)
    here = {file.trigger.path for file in files}
    gone = [trigger for path, trigger in sorted(current.triggers.items()) if path not in here]
    moved: dict[str, str] = {}
    for file in files:
        if file.trigger.path in current.triggers:
            continue
        for old in gone:
            if old.path not in moved.values() and _character(old) == _character(file.trigger):
                moved[file.trigger.path] = old.path
                break
    return moved


def _character(trigger: Trigger) -> Trigger:
    """What is left of a trigger without its path, its identity and the versions of what it runs."""
    return msgspec.structs.replace(trigger, path="", session="", client_id="", runnables={})


def _check_kept(workspace: Workspace, current: Current, triggers: list[Trigger], problems: Problems) -> None:
    """A client id is checked against the triggers that stay deployed beside the folder's."""
    here = {trigger.path for trigger in triggers}
    kept = [trigger for path, trigger in current.triggers.items() if path not in here]
    files = {file.trigger.path: file for file in workspace.triggers}
    for first, second in client_id_clashes([*kept, *triggers], {**current.brokers, **workspace.brokers}):
        if file := files.get(second.path):
            problems.error(
                file.file,
                file.client_id_line,
                "client_id",
                f"{first.path}, which is deployed and not in this folder, has the client id {second.client_id!r} too",
                "choose another client id, or delete that trigger with --prune",
            )


def _warn_of_doubles(workspace: Workspace, moved: Mapping[str, str], problems: Problems) -> None:
    files = {file.trigger.path: file.file for file in workspace.triggers}
    for path, old in moved.items():
        problems.warn(
            files[path],
            0,
            "",
            f"{old}, which is deployed and not in this folder, is the same trigger: each message runs for both",
            "push with --prune if you have renamed it: the new one then goes on with its session",
        )


def _split(name: str) -> Item:
    kind, _, path = name.partition(":")
    return msgspec.convert({"kind": kind, "path": path}, Item)
