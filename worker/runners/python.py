"""The Python runner: user code in a child interpreter that shares no module and no environment with ours."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from shared.dependencies.interpreter import own_packages
from worker.runners.base import RunnerLimits, RunnerSettings, ScriptFiles
from worker.runners.framed import FramedRunner
from worker.runners.link import ChildFds

OWN_PACKAGES = ("ingest", "dispatch", "worker", "shared", "console")

_OWN_FOLDER = Path(__file__).resolve().parents[2]
_CHILD = Path(__file__).with_name("child") / "python_child.py"
# No environment variables, no site-packages hooks, no current folder; UTF-8 whatever the locale; unbuffered output.
_OPTIONS = ("-I", "-S", "-X", "utf8", "-u")


class PythonRunner(FramedRunner):
    """One child interpreter for one version of a Python script: a `worker.runners.base.Runner`.

    The script may import what lies beside it, in its workspace, in its dependencies, `headrace`, the standard library
    and the interpreter's site-packages, in this order; never Headrace's own packages, nor those that Headrace needs:
    where the interpreter is the one that runs Headrace, its site-packages are left out.
    """

    def __init__(self, script: ScriptFiles, limits: RunnerLimits, settings: RunnerSettings | None = None) -> None:
        super().__init__(script, limits, settings or RunnerSettings(interpreter=sys.executable))

    def _command(self, fds: ChildFds) -> list[str]:
        dependencies = (*self._script.dependencies, *self._settings.dependencies)
        settings = {
            "parent": os.getpid(),
            "socket": fds.socket,
            "area": fds.area,
            "raw": fds.raw,
            "entry": self._script.entry,
            "root": self._script.root,
            "function": self._script.function,
            "path": [str(Path(self._script.entry).parent), self._script.root, *dependencies],
            "helper": str(_CHILD.parent),
            "withheld": sorted(own_packages()),
            "hidden": OWN_PACKAGES,
            "hidden_folder": str(_OWN_FOLDER),
            "memory_bytes": self._limits.memory_bytes,
            "max_result_bytes": self._limits.max_result_bytes,
        }
        told = msgspec.json.encode(settings).decode()
        return [self._settings.interpreter, *_OPTIONS, str(_CHILD), self._script.entry, told]
