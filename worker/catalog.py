"""What can be tried here: scripts and flows with all that they run, of a folder or as they are deployed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from difflib import get_close_matches
from pathlib import Path

import msgspec

from shared.config import Settings
from shared.definitions import Flow, Record, Runnable, Script, Trigger, Variable, encode_definition
from shared.dependencies.locking import Dependencies
from shared.deployment import Deployed, read_all
from shared.errors import UserError
from shared.secrets import SecretBox
from shared.store import Store
from shared.values import Values, read_values
from shared.workspace import Workspace, read_workspace
from shared.workspace.defaults import Defaults
from shared.workspace.problems import Problems
from shared.workspace.runnables import Runnables


class Catalog(msgspec.Struct, frozen=True):
    """Scripts and flows by path, and all versions of either that these name; triggers, variables and resources.

    `names` are the paths of everything that there is, wanted or not. `stands_in`: code that asks for variables and
    resources is given these, because there is no console that has them.
    """

    scripts: dict[str, Script]
    flows: dict[str, Flow]
    script_versions: dict[str, Script]
    flow_versions: dict[str, Flow]
    triggers: dict[str, Trigger]
    values: Values
    names: list[str] = []
    stands_in: bool = False

    def runnable(self, path: str, *, is_flow: bool | None = None) -> Script | Flow | None:
        """What is at this path; of a script and a flow the flow, unless the script is asked for."""
        if is_flow is not False and path in self.flows:
            return self.flows[path]
        return None if is_flow else self.scripts.get(path)


def of_folder(
    folder: Path, settings: Settings, say: Callable[[str], None], wanted: Collection[str] | None = None
) -> Catalog:
    """A folder as a push would deploy it; of scripts and flows those that are wanted and what they run (None: all).

    Needs no Redis: what a flow names has to be in the folder. Raises WorkspaceError.
    """
    workspace = read_workspace(folder)
    names = [*workspace.scripts, *workspace.flows]
    if wanted is not None:
        workspace = _only(workspace, set(wanted))
    locked = Dependencies(settings.worker.python, say=say).lock(workspace, {})
    problems = Problems()
    runnables = Runnables(locked, ({}, {}), None, settings.worker.default_timeout_s, problems)
    flows = runnables.flows()
    problems.check(str(folder), "nothing was run")
    scripts = [*locked.scripts.values(), *(each for own in runnables.code.values() for each in own)]
    return Catalog(
        locked.scripts, flows, _by_version(scripts), _by_version(flows.values()),
        {file.trigger.path: file.trigger for file in workspace.triggers}, _values(workspace), names,
        stands_in=True,
    )  # fmt: skip


def as_deployed(store: Store, deployed: Deployed, path: str, box: SecretBox) -> Catalog:
    """What is deployed at this path, with all that it runs. Raises StoreUnavailable."""
    found = {kind: deployed.of_kind(kind).get(path) for kind in ("script", "flow")}
    scripts = read_all(store, {path: found["script"]}, Script) if found["script"] else {}
    flows = read_all(store, {path: found["flow"]}, Flow) if found["flow"] else {}
    script_versions, flow_versions = _by_version(scripts.values()), _by_version(flows.values())
    waiting = list(flows.values())
    while waiting:
        named = waiting.pop().runnables.values()
        script_versions |= read_all(store, _versions(named, script_versions, is_flow=False), Script)
        more = read_all(store, _versions(named, flow_versions, is_flow=True), Flow)
        flow_versions |= more
        waiting += more.values()
    triggers = read_all(store, deployed.of_kind("trigger"), Trigger)
    values = read_values(store, deployed, box)
    return Catalog(scripts, flows, script_versions, flow_versions, triggers, values)


def unknown(path: str, where: str, known: Iterable[str]) -> UserError:
    """There is neither a script nor a flow."""
    near = get_close_matches(path, list(known), 1)
    hint = f"did you mean {near[0]}?" if near else ""
    return UserError(f"no script and no flow {path} {where}", hint=hint, path=path)


def _versions(named: Iterable[Runnable], known: Collection[str], *, is_flow: bool) -> dict[str, str]:
    wanted = (each.version for each in named if each.is_flow == is_flow)
    return {version: version for version in wanted if version not in known}


def _by_version(records: Iterable[Record]) -> dict[str, Record]:
    return {encode_definition(record)[0]: record for record in records}


def _only(workspace: Workspace, wanted: set[str]) -> Workspace:
    """Without the scripts and flows that nothing of what is wanted runs: their packages are not asked for."""
    waiting = list(wanted)
    while waiting:
        flow = workspace.flows.get(waiting.pop())
        for called in flow.called if flow else ():
            if called.path not in wanted:
                wanted.add(called.path)
                waiting.append(called.path)
    return msgspec.structs.replace(
        workspace,
        scripts={path: script for path, script in workspace.scripts.items() if path in wanted},
        flows={path: flow for path, flow in workspace.flows.items() if path in wanted},
        defaults=Defaults(),
    )


def _values(workspace: Workspace) -> Values:
    """Of the folder itself: a secret is plain there, or not there at all."""
    given = (file.variable for file in workspace.variables if file.given)
    variables: dict[str, Variable] = {each.path: msgspec.structs.replace(each, is_secret=False) for each in given}
    return Values(variables, workspace.resources, SecretBox.without_key())
