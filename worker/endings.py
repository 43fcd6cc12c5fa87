"""What is told of the ends of what was executed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from worker import outcomes
from worker.jobs import Job
from worker.outcomes import Ended
from worker.runners.base import RunDone, RunErrorInfo, RunnerDied


class Endings(Protocol):
    """Is told how each of the started jobs has ended: one call for each."""

    def done(self, job: Job, answer: RunDone, duration_s: float) -> None:
        """The code was executed to its end."""

    def refused(self, job: Job, problem: RunErrorInfo) -> None:
        """Nothing was executed."""

    def timed_out(self, job: Job, timeout_s: float, log: str, *, loading: bool) -> None:
        """The code was killed because it took too long."""

    def stopped(self, job: Job, log: str, duration_s: float) -> None:
        """Somebody asked for it to be ended."""

    def crashed(self, job: Job, death: RunnerDied, duration_s: float | None) -> None:
        """The runner died while the code ran, or (`duration_s` None) was ended before its turn came."""


class RunEndings:
    """Hands the endings of runs on to `report`."""

    def __init__(self, report: Callable[[Ended], None]) -> None:
        self._report = report

    def done(self, job: Job, answer: RunDone, duration_s: float) -> None:
        """The code was executed to its end."""
        self._report(outcomes.done(job, answer, duration_s))

    def refused(self, job: Job, problem: RunErrorInfo) -> None:
        """Nothing was executed."""
        self._report(outcomes.refused(job, problem))

    def timed_out(self, job: Job, timeout_s: float, log: str, *, loading: bool) -> None:
        """The code was killed because it took too long."""
        self._report(outcomes.timed_out(job, timeout_s, log, loading=loading))

    def stopped(self, job: Job, log: str, duration_s: float) -> None:
        """Somebody asked for it to be ended."""
        self._report(outcomes.stopped(job, log, duration_s))

    def crashed(self, job: Job, death: RunnerDied, duration_s: float | None) -> None:
        """The runner died while the code ran, or (`duration_s` None) was ended before its turn came."""
        self._report(outcomes.crashed(job, death, duration_s))
