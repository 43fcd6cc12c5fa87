"""Runners for trials: as a worker has them, without a worker."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from shared.config import Settings
from shared.definitions import Script
from shared.dependencies.environments import Environments
from shared.values import Values
from worker.app import runner_maker
from worker.runners.base import RunCall, RunDone, RunErrorInfo, Runner, RunnerBroken, RunnerDied, RunnerReady
from worker.scripts import on_disk

MOCKED = "WM_MOCKED_API_FILE"
_TICK_S = 0.2
_OWNER_ONLY = 0o600
_LAST_S = 1.0


class Here:
    """One runner for each version of a script, warm until the end of the `with`; `folder` is for their files."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings = settings
        self._folder = folder
        self._runners: dict[tuple[str, str], Runner] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for runner in self._runners.values():
            runner.close(_LAST_S)

    def mocked(self, values: Values) -> dict[str, str]:
        """The environment in which the `wmill` client takes variables and resources from these values (Windmill)."""
        document = msgspec.json.encode(values.everything(), order="deterministic")
        file = self._folder / f"values-{hashlib.sha256(document).hexdigest()[:16]}.json"
        if not file.exists():
            file.touch(mode=_OWNER_ONLY)
            file.write_bytes(document)
        return {MOCKED: str(file)}

    def run(self, script: Script, version: str, call: RunCall, timeout_s: float) -> RunDone:
        """Execute a call to its end, whatever that is. The time counts from when the script is loaded.

        Raises HeadraceError for what keeps it from being begun.
        """
        key = version, call.environment.get(MOCKED, "")  # a client reads it once
        runner = self._runners.get(key) or self._start(script, key)
        try:
            runner.send([call])
            done, alive = _wait(runner, call.run_id, timeout_s)
        except BaseException:
            self._drop(key)
            raise
        if not alive or script.isolation == "fresh":
            self._drop(key)
        return done

    def _start(self, script: Script, key: tuple[str, str]) -> Runner:
        files = on_disk(self._folder, key[0], script)
        if files.lock:
            packages = Environments(self._settings.environments, self._settings.worker.python).prepare(files.lock)
            files = msgspec.structs.replace(files, dependencies=(str(packages),))
        runner = runner_maker(self._settings)(files)
        runner.start()
        self._runners[key] = runner
        return runner

    def _drop(self, key: tuple[str, str]) -> None:
        self._runners.pop(key).close(_LAST_S)


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
