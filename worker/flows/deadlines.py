"""How much time is left: for a flow, for the steps around what is done, and for a step by itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from shared.flow_records import Limit
from worker.flows import faults
from worker.flows.effects import Allow, Answer, Done, Execute, Failed, Wait
from worker.flows.evaluation import Evaluator

_MS: Final = 1000
_LEAST_S: Final = 0.001
"""A time-out of 0 would be for ever."""


class Deadlines:
    """Of one flow, which must have ended at `flow_ms` (epoch ms; None: whenever it does). `now_ms` is the clock."""

    def __init__(self, now_ms: Callable[[], int], evaluator: Evaluator, flow_ms: int | None = None) -> None:
        self._now_ms = now_ms
        self._evaluator = evaluator
        self.flow_ms = flow_ms

    def allow(self, effect: Allow) -> Answer:
        """How long a step that consists of steps may take, from now on; Done with None: as long as it takes."""
        seconds = self._evaluator.seconds_of(effect.step, effect.timeout, effect.variables)
        if isinstance(seconds, Failed) or seconds.result is None:
            return seconds
        return Done([seconds.result, self._now_ms() + round(seconds.result * _MS)])

    def over(self, limit: Limit | None) -> Failed | None:
        """That the time of the step around it is over, if it is."""
        return faults.limit_reached(limit) if limit is not None and self._until_s(limit.until_ms) <= 0 else None

    def timeout(self, effect: Execute, inputs: Any) -> Answer:
        """Seconds that a step may take by itself, if there is time left for it."""
        if self._left_s(None) <= 0:
            return faults.out_of_time()
        return self.over(effect.limit) or self._evaluator.timeout_of(effect, inputs if isinstance(inputs, dict) else {})

    def at_most(self, effect: Execute, seconds: float) -> float:
        """The same, or what is left for it: something, also where that is over by now."""
        return max(_LEAST_S, min(seconds, self._left_s(effect.limit)))

    def wait(self, effect: Wait) -> tuple[float, Answer]:
        """Seconds to wait, and what has come of it then."""
        limit = effect.limit
        late = limit is not None and effect.seconds > self._until_s(limit.until_ms)
        seconds = max(0.0, min(effect.seconds, self._left_s(limit)))
        return seconds, faults.limit_reached(limit) if late and limit is not None else Done()

    def look_after_s(self, limit: Limit | None, at_least_every_s: float) -> float:
        """Seconds until parts of the flow are looked after: at the latest when they must have ended."""
        return at_least_every_s if limit is None else max(0.0, min(at_least_every_s, self._until_s(limit.until_ms)))

    def _left_s(self, limit: Limit | None) -> float:
        flow_s = math.inf if self.flow_ms is None else self._until_s(self.flow_ms)
        return flow_s if limit is None else min(flow_s, self._until_s(limit.until_ms))

    def _until_s(self, at_ms: int) -> float:
        return (at_ms - self._now_ms()) / _MS
