"""The warm runners of a worker: one per script version, kept for the next run of that version."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

import msgspec

from shared.metrics.catalogue import RUNNER_STARTS
from worker.runners.base import Runner, RunnerDied, ScriptFiles

CLOSE_S = 0.5
"""Time for an idle child's exit handlers; the worker stands still meanwhile."""
TRUST_S = 0.1
"""A runner that was used so recently is taken to be alive."""


class _Warm(msgspec.Struct):
    runner: Runner
    used_at: float


class RunnerPool:
    """Keeps at most `limit` runners alive; the least recently used one makes room."""

    def __init__(self, make: Callable[[ScriptFiles], Runner], limit: int) -> None:
        self._make = make
        self._limit = limit
        self._warm: OrderedDict[str, _Warm] = OrderedDict()

    def __len__(self) -> int:
        return len(self._warm)

    def get(self, script: ScriptFiles) -> Runner:
        """A started runner for this version that lived a moment ago. Raises ConfigError when none can be started."""
        now = time.monotonic()
        warm = self._warm.get(script.version)
        if warm is not None and now - warm.used_at > TRUST_S and _has_died(warm.runner):
            warm = None
        if warm is None:
            self.discard(script.version)
            while len(self._warm) >= self._limit:
                self._warm.popitem(last=False)[1].runner.close(CLOSE_S)
            warm = self._warm[script.version] = _Warm(self._make(script), now)
            warm.runner.start()
            RUNNER_STARTS.of(script.language).add()
        warm.used_at = now
        self._warm.move_to_end(script.version)
        return warm.runner

    def retire(self, version: str) -> None:
        """End a runner in good order: it has executed what it was there for."""
        if (warm := self._warm.pop(version, None)) is not None:
            warm.runner.close(CLOSE_S)

    def discard(self, version: str) -> None:
        """Forget a runner that has ended, or is to end now."""
        if (warm := self._warm.pop(version, None)) is not None:
            warm.runner.close(0)

    def close(self) -> None:
        """End all runners."""
        while self._warm:
            self._warm.popitem()[1].runner.close(CLOSE_S)


def _has_died(runner: Runner) -> bool:
    return any(isinstance(event, RunnerDied) for event in runner.poll(0))
