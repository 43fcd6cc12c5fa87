"""What a deployment would change: a workspace against what is deployed. Pure: identities are handed in.

A trigger keeps its session and client id for as long as it is deployed under its path; one that moved to another path
in the same push that deletes the old one takes them along.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import msgspec

from shared.definitions import (
    Broker,
    Definition,
    File,
    Flow,
    Kind,
    Record,
    Resource,
    Script,
    Trigger,
    Variable,
    encode_definition,
    kind_of,
)
from shared.deployment import Deployed
from shared.left import Left
from shared.workspace import Workspace, layout
from shared.workspace.changes import Change, Item, compare, item_of, shown_changes, shown_items
from shared.workspace.checks import client_id_clashes
from shared.workspace.problems import Problem, Problems
from shared.workspace.references import check_resolvable
from shared.workspace.runnables import Runnables
from shared.workspace.triggers import TriggerFile

__all__ = ["Change", "Current", "Item", "Plan", "make_plan"]

_SUFFIXES: dict[Kind, tuple[str, ...]] = {
    "trigger": (layout.TRIGGER,),
    "broker": (layout.RESOURCE,),
    "resource": (layout.RESOURCE,),
    "variable": (layout.VARIABLE,),
    "flow": (f".flow/{layout.FLOW_FILE}", f"__flow/{layout.FLOW_FILE}"),
    "script": tuple(layout.LANGUAGES),
    "file": ("",),
}


class Current(msgspec.Struct, frozen=True):
    """What is deployed now, and the id of this installation, which new client ids carry.

    `defaults` is the text of its `headrace.yaml`, `code` the scripts that flows hold themselves, by `code_key`.
    """

    deployed: Deployed
    deployment_id: str
    triggers: dict[str, Trigger]
    scripts: dict[str, Script]
    brokers: dict[str, Broker]
    flows: dict[str, Flow] = {}
    resources: dict[str, Resource] = {}
    variables: dict[str, Variable] = {}
    defaults: str = ""
    code: dict[str, Script] = {}

    def record(self, kind: Kind, path: str) -> Definition | None:
        """One of these; None for a file, whose text is not read."""
        tables: dict[Kind, Mapping[str, Definition]] = {
            "trigger": self.triggers, "script": self.scripts, "broker": self.brokers, "flow": self.flows,
            "resource": self.resources, "variable": self.variables, "file": {},
        }  # fmt: skip
        return tables[kind].get(path)


class Plan(msgspec.Struct, frozen=True):
    """A deployment before it is made: what people are told, and what the `deploy` verb is given.

    `changes`, `unchanged` and `kept` tell of definitions; files only where no definition tells of them. `left`:
    sessions that triggers leave behind. `taken`: records of such sessions that triggers take up again, which must
    still be the same then. `moving`: triggers that may leave their session once another broker has answered.
    """

    against: int
    changes: list[Change]
    unchanged: list[Item]
    kept: list[Item]
    warnings: list[Problem]
    definitions: dict[str, bytes]
    changed: dict[str, str]
    deleted: list[str]
    left: dict[str, Left] = {}
    taken: dict[str, bytes] = {}
    moving: list[str] = []


def make_plan(
    workspace: Workspace,
    current: Current,
    default_timeout_s: float,
    new_session: Callable[[], str],
    *,
    prune: bool,
    renamed: Mapping[str, str] | None = None,
) -> Plan:
    """The plan that makes a workspace current; what the folder is about and does not hold is deleted only to `prune`.

    `renamed` triggers (new path → old one) are the same ones, whatever else of them is changed.

    Secrets of the workspace are sealed already. Raises WorkspaceError for references to what will not be there, and
    where a trigger of the folder and one that is kept would end each other's session.
    """
    problems = Problems()
    wanted = _wanted(workspace)
    names = _names(workspace, wanted)
    gone = [item_of(name) for name in sorted(current.deployed.versions.keys() - names)]
    goes = {item for item in gone if _is_replaced(item, names) or (prune and _is_covered(item, workspace))}
    deleted, kept = [item for item in gone if item in goes], [item for item in gone if item not in goes]
    moved = _moved(workspace.triggers, current) | dict(renamed or {})
    renames = {path: old for path, old in moved.items() if Item("trigger", old) in goes}
    stays = names | {item.name for item in kept}
    deployed = _staying(current.scripts, stays), _staying(current.flows, stays)
    runnables = Runnables(workspace, deployed, _kept_defaults(current, kept), default_timeout_s, problems)
    flows = runnables.flows()
    triggers = _assemble(workspace, current, renames, runnables, new_session)
    _check_kept(workspace, current, triggers, kept, problems)
    _warn_of_doubles(workspace, {path: old for path, old in moved.items() if path not in renames}, problems)
    _warn_of_new_client_ids(workspace, current, triggers, problems)
    check_resolvable(workspace.references, stays, problems)
    problems.check("the workspace beside what is deployed")
    files = [File(file, text) for file, text in workspace.texts.items()]
    found = compare([*wanted, *flows.values(), *triggers, *files], current.deployed.versions, current.record, renames)
    code = _code_of(flows, runnables, found.changed)
    left = {Item("trigger", path) for path in renames.values()}
    changes = found.changes + [Change("deleted", item.kind, item.path) for item in deleted if item not in left]
    return Plan(
        against=current.deployed.number, changes=shown_changes(changes, _files_of(workspace)),
        unchanged=shown_items([item for item in found.unchanged if item.kind != "file"]), kept=shown_items(kept),
        warnings=[*workspace.warnings, *problems.warnings], definitions=found.definitions | code,
        changed=found.changed, deleted=[item.name for item in deleted],
    )  # fmt: skip


def _names(workspace: Workspace, wanted: Iterable[Definition]) -> set[str]:
    """Of everything that the folder holds, as the table of what is deployed names it."""
    named = [*wanted, *(file.trigger for file in workspace.triggers), *(file.flow for file in workspace.flows.values())]
    return {f"{kind_of(each)}:{each.path}" for each in named} | {f"file:{path}" for path in workspace.texts}


def _wanted(workspace: Workspace) -> list[Definition]:
    """All but flows, triggers and files."""
    variables = [file.variable for file in workspace.variables]
    tables = workspace.resources, workspace.brokers, workspace.scripts
    return [*variables, *(definition for table in tables for definition in table.values())]


def _staying(records: Mapping[str, Record], stays: set[str]) -> dict[str, Record]:
    """Those of what is deployed that stay deployed."""
    return {path: record for path, record in records.items() if f"{kind_of(record)}:{path}" in stays}


def _code_of(flows: Mapping[str, Flow], runnables: Runnables, changed: Mapping[str, str]) -> dict[str, bytes]:
    """The records of the code that changed flows hold themselves."""
    scripts = [script for path in flows if f"flow:{path}" in changed for script in runnables.code[path]]
    return dict(map(encode_definition, scripts))


def _files_of(workspace: Workspace) -> dict[str, set[str]]:
    """By the name of a script or flow the files that it is made of."""
    scripts = {f"script:{path}": set(script.modules) for path, script in workspace.scripts.items()}
    code = {
        f"flow:{path}": {file for script in flow.code.values() for file in script.modules}
        for path, flow in workspace.flows.items()
    }
    return scripts | code


def _is_replaced(item: Item, names: set[str]) -> bool:
    """What another file of the same definition stands for now: it goes whether or not the rest is pruned."""
    if item.kind == "broker":
        return f"resource:{item.path}" in names
    if item.kind == "file" and (owner := layout.owner_of(item.path)):
        return f"{owner[0]}:{owner[1]}" in names
    return False


def _is_covered(item: Item, workspace: Workspace) -> bool:
    return any(workspace.selection.covers(item.path + suffix) for suffix in _SUFFIXES[item.kind])


def _kept_defaults(current: Current, kept: list[Item]) -> str | None:
    return current.defaults if Item("file", layout.DEFAULTS) in kept else None


def _assemble(
    workspace: Workspace,
    current: Current,
    moved: Mapping[str, str],
    runnables: Runnables,
    new_session: Callable[[], str],
) -> list[Trigger]:
    """The triggers as they will be deployed: with session, client id and the versions of what they run."""
    taken = {trigger.client_id for trigger in current.triggers.values()}
    triggers: list[Trigger] = []
    for file in workspace.triggers:
        path = file.trigger.path
        before = current.triggers.get(path) or current.triggers.get(moved.get(path, ""))
        session = before.session if before else new_session()
        client_id = file.trigger.client_id or (before.client_id if before else "")
        if not client_id:
            client_id = f"headrace-{current.deployment_id}-{path.replace('/', '-')}"
            if client_id in taken:
                client_id += f"-{session}"
        taken.add(client_id)
        triggers.append(msgspec.structs.replace(runnables.complete(file), session=session, client_id=client_id))
    return triggers


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
    return msgspec.structs.replace(trigger, path="", session="", client_id="", runnables={}, default_error_handler=None)


def _check_kept(
    workspace: Workspace, current: Current, triggers: list[Trigger], kept: list[Item], problems: Problems
) -> None:
    """A client id is checked against the triggers that stay deployed beside the folder's."""
    paths = {item.path for item in kept if item.kind == "trigger"}
    others = [trigger for path, trigger in current.triggers.items() if path in paths]
    files = {file.trigger.path: file for file in workspace.triggers}
    for first, second in client_id_clashes([*others, *triggers], {**current.brokers, **workspace.brokers}):
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


def _warn_of_new_client_ids(
    workspace: Workspace, current: Current, triggers: list[Trigger], problems: Problems
) -> None:
    """The broker keeps messages for a client id; under another one nobody fetches them."""
    files = {file.trigger.path: file for file in workspace.triggers}
    for trigger in triggers:
        before = current.triggers.get(trigger.path)
        if before is None or before.client_id == trigger.client_id or not any(topic.qos for topic in before.topics):
            continue
        file = files[trigger.path]
        problems.warn(
            file.file,
            file.client_id_line,
            "client_id",
            f"is {trigger.client_id!r}, and was {before.client_id!r}: the session of that one is left behind",
            "a client id is for good: keep the old one, or drain what waits with headrace sessions",
        )
