"""The bash runner: one process per run, started by a child that stays."""

from __future__ import annotations

import shutil

import msgspec

from shared.errors import ConfigError
from worker.runners.base import RunnerLimits, RunnerSettings, ScriptFiles
from worker.runners.program import ProgramRunner


class BashRunner(ProgramRunner):
    """Runs of one version of a bash script: a `worker.runners.base.Runner`.

    Each run has a process, a session and an empty working folder of its own. Everything that it has started ends with
    it. An exit status other than 0 fails the run; a bash that is ended by a signal is a crash.
    """

    def __init__(self, script: ScriptFiles, limits: RunnerLimits, settings: RunnerSettings | None = None) -> None:
        """Raise ConfigError when there is no bash on this machine."""
        bash = shutil.which("bash")
        if bash is None:
            raise ConfigError("there is no bash on the PATH of this worker: install it where the worker runs")
        super().__init__(msgspec.structs.replace(script, language="bash"), limits, settings, {"program": bash})
