"""What a trigger runs, with the versions of this deployment: its scripts, and its error handler or the workspace's."""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from shared.definitions import Runnable, Script, Trigger, encode_definition
from shared.workspace import Workspace
from shared.workspace.defaults import read_defaults
from shared.workspace.problems import Problems
from shared.workspace.triggers import TriggerFile


class Runnables:
    """The scripts of a workspace as triggers are deployed with them.

    `deployed` are the scripts that are deployed now, `defaults` is the text of a `headrace.yaml` that is deployed and
    stays although the folder has none. A run may take `default_timeout_s` where neither trigger nor script says more.
    """

    def __init__(
        self, workspace: Workspace, deployed: Mapping[str, Script], defaults: str | None, default_timeout_s: float
    ) -> None:
        self._scripts = {**deployed, **workspace.scripts}
        self._versions: dict[str, str] = {}
        self._default_timeout_s = default_timeout_s
        entry = workspace.defaults.handler if defaults is None else read_defaults(defaults, Problems()).handler
        self._default = entry.handler if entry is not None and entry.handler.path in self._scripts else None

    def complete(self, file: TriggerFile) -> Trigger:
        """The trigger of a file, with everything that it runs and its error handler."""
        trigger = file.trigger
        default = None if trigger.error_handler else self._default
        runnables = {path: self._runnable(path, file.timeout_s) for path in file.runnables}
        if (handler := trigger.error_handler or default) is not None:
            runnables.setdefault(handler.path, self._runnable(handler.path))
        return msgspec.structs.replace(trigger, runnables=runnables, default_error_handler=default)

    def _runnable(self, path: str, timeout_s: int | None = None) -> Runnable:
        script = self._scripts[path]
        if path not in self._versions:
            self._versions[path] = encode_definition(script)[0]
        seconds = math.ceil(timeout_s or script.timeout_s or self._default_timeout_s)
        return Runnable(path, self._versions[path], seconds, muted=script.ws_error_handler_muted)
