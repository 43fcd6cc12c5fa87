"""The legs of a message's way that end in a worker, measured as runs end."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

from shared.metrics.catalogue import ATTEMPTS, END_TO_END, EXECUTION, WAIT
from shared.metrics.instruments import NO_TRIGGER, Count
from worker.outcomes import Ended

_UNCOUNTED = "-"
_MS_PER_S = 1000
_LAST = frozenset({"succeeded", "failed", "stopped"})
_ONE = {"recovered": "succeeded"}


class Measured:
    """Hands endings on to `report`, having measured them: a microsecond for each."""

    def __init__(self, report: Callable[[Ended], None]) -> None:
        self._report = report
        self._legs: dict[str, _Legs] = {}
        self._queued: tuple[str, float | None] = "", None

    def report(self, ended: Ended) -> None:
        """Report an ending."""
        job, now_s = ended.job, time.time()
        trigger = job.spec.trigger if job.spec else ""
        legs = self._legs.get(trigger)
        if legs is None:
            legs = self._legs[trigger] = _Legs(trigger or NO_TRIGGER)
        outcome = legs.count(ended.ending.outcome)
        if ended.duration_s is not None:
            legs.execution.observe(ended.duration_s)
            if (queued_s := self._queued_s(job.claim.queued_at)) is not None:
                legs.wait.observe(now_s - ended.duration_s - queued_s)
        if outcome in _LAST and job.message is not None and job.claim.counted != _UNCOUNTED:
            legs.end_to_end.observe(now_s - job.message.received_at / _MS_PER_S)
        self._report(ended)

    def _queued_s(self, text: str) -> float | None:
        """Many runs are queued at the same moment: those of one placement. None: it is not known when."""
        if self._queued[0] != text:
            try:
                self._queued = text, datetime.fromisoformat(text).timestamp()
            except ValueError:
                self._queued = text, None
        return self._queued[1]


class _Legs:
    """The series of one trigger."""

    def __init__(self, trigger: str) -> None:
        self.wait = WAIT.of(trigger)
        self.execution = EXECUTION.of(trigger)
        self.end_to_end = END_TO_END.of(trigger)
        self._trigger = trigger
        self._attempts: dict[str, Count] = {}

    def count(self, outcome: str) -> str:
        outcome = _ONE.get(outcome, outcome)
        counted = self._attempts.get(outcome)
        if counted is None:
            counted = self._attempts[outcome] = ATTEMPTS.of(self._trigger, outcome)
        counted.value += 1
        return outcome
