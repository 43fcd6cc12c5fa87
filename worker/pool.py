"""The warm runners of a worker: one per script version, kept for the next run of that version."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from worker.runners.base import Runner, RunnerDied, ScriptFiles

CLOSE_S = 0.5
"""Time for an idle child's exit handlers; the worker stands still meanwhile."""


class RunnerPool:
    """Keeps at most `limit` runners alive; the least recently used one makes room."""

    def __init__(self, make: Callable[[ScriptFiles], Runner], limit: int) -> None:
        self._make = make
        self._limit = limit
        self._runners: OrderedDict[str, Runner] = OrderedDict()

    def get(self, script: ScriptFiles) -> Runner:
        """A started runner for this version that lived a moment ago. Raises ConfigError when none can be started."""
        runner = self._runners.get(script.version)
        if runner is not None and any(isinstance(event, RunnerDied) for event in runner.poll(0)):
            runner = None
        if runner is None:
            self.discard(script.version)
            while len(self._runners) >= self._limit:
                self._runners.popitem(last=False)[1].close(CLOSE_S)
            runner = self._make(script)
            runner.start()
            self._runners[script.version] = runner
        self._runners.move_to_end(script.version)
        return runner

    def discard(self, version: str) -> None:
        """Forget a runner that has ended, or is to end now."""
        if (runner := self._runners.pop(version, None)) is not None:
            runner.close(0)

    def close(self) -> None:
        """End all runners."""
        while self._runners:
            self._runners.popitem()[1].close(CLOSE_S)
