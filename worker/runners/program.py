"""A runner whose child has a program of another language do the work: everything but what the child is told of it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import msgspec

from worker.runners.base import RunnerLimits, RunnerSettings, ScriptFiles
from worker.runners.framed import FramedRunner
from worker.runners.link import ChildFds

CHILD_FOLDER = Path(__file__).with_name("child")
_CHILD = CHILD_FOLDER / "program_child.py"
# As for a script in Python: nothing of this machine's gets in, and output is not kept back.
_OPTIONS = ("-I", "-S", "-X", "utf8", "-u")


class ProgramRunner(FramedRunner):
    """A `worker.runners.base.Runner` whose `pid` is that of the child that stands between it and the program.

    `told` is what the child has to know of the language. Of the settings' interpreter nothing is used.
    """

    def __init__(
        self, script: ScriptFiles, limits: RunnerLimits, settings: RunnerSettings | None, told: dict[str, Any]
    ) -> None:
        given = settings or RunnerSettings(interpreter="")
        super().__init__(script, limits, msgspec.structs.replace(given, interpreter=sys.executable))
        self._told = told

    def _command(self, fds: ChildFds) -> list[str]:
        settings = {
            "parent": os.getpid(),
            "socket": fds.socket,
            "area": fds.area,
            "raw": fds.raw,
            "helper": str(CHILD_FOLDER),
            "language": self._script.language,
            "entry": self._script.entry,
            "root": self._script.root,
            "parameters": self._script.parameters,
            "memory_bytes": self._limits.memory_bytes,
            "max_result_bytes": self._limits.max_result_bytes,
            **self._told,
        }
        return [sys.executable, *_OPTIONS, str(_CHILD), msgspec.json.encode(settings).decode()]
