"""Runners: the child processes that user code runs in, one module per language."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from worker.runners.base import Runner, RunnerLimits, RunnerSettings, ScriptFiles
from worker.runners.bash import BashRunner
from worker.runners.deno import DenoRunner
from worker.runners.python import PythonRunner

# language of a script → its runner
RUNNERS: Final[dict[str, Callable[[ScriptFiles, RunnerLimits, RunnerSettings | None], Runner]]] = {
    "python3": PythonRunner,
    "bash": BashRunner,
    "deno": DenoRunner,
}
