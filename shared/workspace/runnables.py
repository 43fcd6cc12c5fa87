"""What triggers and flows run, with the versions of this deployment: scripts, flows, and error handlers."""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from shared.definitions import FLOW_TIMEOUT_S, ErrorHandler, Flow, Runnable, Script, Trigger, encode_definition
from shared.openflow import PREPROCESSOR
from shared.workspace import Workspace
from shared.workspace.defaults import read_defaults
from shared.workspace.flow_fields import Called
from shared.workspace.problems import Problems, did_you_mean
from shared.workspace.scripts import as_preprocessor
from shared.workspace.triggers import TriggerFile


class Runnables:
    """The scripts and flows of a workspace as triggers, and other flows, are deployed with them.

    `scripts` and `flows` are those that are deployed and stay, `defaults` is the text of a `headrace.yaml` that is
    deployed and stays although the folder has none. A script may take `default_timeout_s` where neither it nor its
    trigger says more, a flow FLOW_TIMEOUT_S. What a flow names and what is not there is a problem.
    """

    def __init__(
        self,
        workspace: Workspace,
        deployed: tuple[Mapping[str, Script], Mapping[str, Flow]],
        defaults: str | None,
        default_timeout_s: float,
        problems: Problems,
    ) -> None:
        scripts, flows = deployed
        self._scripts = {**scripts, **workspace.scripts}
        self._files = workspace.flows
        self._flows: dict[str, Flow] = {path: flow for path, flow in flows.items() if path not in self._files}
        self._versions: dict[tuple[str, bool], str] = {}
        self._default_timeout_s = default_timeout_s
        self._problems = problems
        self.code: dict[str, list[Script]] = {}
        for path in self._files:
            self._flow(path, ())
        wanted = workspace.defaults if defaults is None else read_defaults(defaults, Problems())
        entry = wanted.handler
        self._default = entry.handler if entry is not None and self._is_there(entry.handler) else None
        self._dead_topic = wanted.dead.topic if wanted.dead else None

    def flows(self) -> dict[str, Flow]:
        """The flows of the workspace, each with all that it runs. Their own code is in `code`."""
        return {path: self._flows[path] for path in self._files if path in self._flows}

    def complete(self, file: TriggerFile) -> Trigger:
        """The trigger of a file, with everything that it runs, its error handler, and where its dead letters go."""
        trigger = file.trigger
        default = None if trigger.error_handler else self._default
        wanted = {path: (path in file.flows, file.timeout_s) for path in file.runnables}
        handler = trigger.error_handler or default
        if handler and wanted.setdefault(handler.path, (handler.is_flow, None))[0] != handler.is_flow:
            hint = "give the flow another path than the script"
            message = f"its runnable {handler.path} has the path of the workspace's error handler"
            self._problems.error(file.file, 0, "", message, hint)
        runnables = {
            path: self._runnable(path, is_flow, timeout_s)
            for path, (is_flow, timeout_s) in wanted.items()
            if path in (self._flows if is_flow else self._scripts)
        }
        return msgspec.structs.replace(
            trigger, runnables=runnables, default_error_handler=default, dead_topic=self._dead_topic
        )

    def _is_there(self, handler: ErrorHandler) -> bool:
        return handler.path in (self._flows if handler.is_flow else self._scripts)

    def _runnable(self, path: str, is_flow: bool, timeout_s: int | None = None) -> Runnable:  # noqa: FBT001
        found = self._flows[path] if is_flow else self._scripts[path]
        if (path, is_flow) not in self._versions:
            self._versions[path, is_flow] = encode_definition(found)[0]
        default = FLOW_TIMEOUT_S if is_flow else self._default_timeout_s
        seconds = math.ceil(timeout_s or found.timeout_s or default)
        return Runnable(path, self._versions[path, is_flow], seconds, is_flow, found.ws_error_handler_muted)

    def _flow(self, path: str, above: tuple[str, ...]) -> None:
        """Put a flow of the folder together, the flows that it runs first."""
        if path in self._flows or path in above:
            return
        file = self._files[path]
        own = dict(file.code)
        runnables: dict[str, Runnable] = {}
        for called in file.called:
            way = [*above, path]
            if called.is_flow and called.path in way:
                circle = " → ".join([*way[way.index(called.path) :], called.path])
                hint = "a version of a flow names the versions of those within it: cut the circle"
                self._error(called, f"the flow leads back to itself: {circle}", hint)
            elif called.step == PREPROCESSOR:
                self._add_preprocessor(called, own)
            elif (runnable := self._called(called, (*above, path))) is not None:
                runnables[called.step] = runnable
        for step, script in own.items():
            seconds = math.ceil(script.timeout_s or self._default_timeout_s)
            runnables[step] = Runnable(script.path, encode_definition(script)[0], seconds)
        self.code[path] = list(own.values())
        self._flows[path] = msgspec.structs.replace(file.flow, runnables=runnables)

    def _called(self, called: Called, above: tuple[str, ...]) -> Runnable | None:
        if called.is_flow and called.path in self._files:
            self._flow(called.path, above)
        there: Mapping[str, object] = self._flows if called.is_flow else self._scripts
        if called.path in there:
            return self._runnable(called.path, called.is_flow)
        kind = "flow" if called.is_flow else "script"
        known = {**self._flows, **self._files} if called.is_flow else self._scripts
        hint = did_you_mean(called.path, known) or "paths start at the workspace folder"
        self._error(called, f"there is no {kind} {called.path}, neither in the folder nor deployed", hint)
        return None

    def _add_preprocessor(self, called: Called, own: dict[str, Script]) -> None:
        script = self._scripts.get(called.path)
        if script is not None and script.has_preprocessor:
            own[PREPROCESSOR] = as_preprocessor(script)
        else:
            hint = did_you_mean(called.path, self._scripts) or "write one, or put it into the flow"
            self._error(called, f"there is no script {called.path} with a function {PREPROCESSOR}", hint)

    def _error(self, called: Called, message: str, hint: str) -> None:
        self._problems.error(called.file, called.line, called.key, message, hint)
