"""Runners for trials: as a worker has them, without a worker."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from shared.config import Settings
from shared.definitions import Script
from shared.dependencies.environments import Environments
from worker.app import runner_maker
from worker.runners.base import RunCall, RunDone, RunErrorInfo, Runner, RunnerBroken, RunnerDied, RunnerReady
from worker.scripts import on_disk

_TICK_S = 0.2
_LAST_S = 1.0


class Here:
    """One runner for each version of a script, warm until the end of the `with`; `folder` is for their files."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings = settings
        self._folder = folder
        self._runners: dict[str, Runner] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for runner in self._runners.values():
            runner.close(_LAST_S)

    def run(self, script: Script, version: str, call: RunCall, timeout_s: float) -> RunDone:
        """Execute a call to its end, whatever that is. The time counts from when the script is loaded.

        Raises HeadraceError for what keeps it from being begun.
        """
        runner = self._runners.get(version) or self._start(script, version)
        try:
            runner.send([call])
            done, alive = _wait(runner, call.run_id, timeout_s)
        except BaseException:
            self._drop(version)
            raise
        if not alive or script.isolation == "fresh":
            self._drop(version)
        return done

    def _start(self, script: Script, version: str) -> Runner:
        files = on_disk(self._folder, version, script)
        if files.lock:
            packages = Environments(self._settings.environments, self._settings.worker.python).prepare(files.lock)
            files = msgspec.structs.replace(files, dependencies=(str(packages),))
        runner = runner_maker(self._settings)(files)
        runner.start()
        self._runners[version] = runner
        return runner

    def _drop(self, version: str) -> None:
        self._runners.pop(version).close(_LAST_S)


def _wait(runner: Runner, run_id: str, timeout_s: float) -> tuple[RunDone, bool]:
    """The end of the one call, and whether its runner is there for another one."""
    deadline = time.monotonic() + timeout_s
    broken = False
    while True:
        late = time.monotonic() >= deadline
        for event in runner.kill() if late else runner.poll(_TICK_S):
            match event:
                case RunDone():
                    return event, not broken
                case RunnerReady():
                    deadline = time.monotonic() + timeout_s
                case RunnerDied(killed=True):
                    problem = RunErrorInfo("TimeoutError", f"it took longer than {timeout_s:g} s and was ended")
                    return RunDone(run_id, ok=False, error=problem, log=event.log), False
                case RunnerDied():
                    text = event.log or event.stderr_tail
                    problem = RunErrorInfo("RunnerDied", f"it {event.cause}")
                    return RunDone(run_id, ok=False, error=problem, log=text), False
                case RunnerBroken():
                    broken = True
