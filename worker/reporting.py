"""Endings on their way to Redis: kept until they are known to be recorded, told of once they are."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from shared.clock import NS_PER_S, iso_utc
from shared.events import emit
from shared.scripts.call import Call
from shared.scripts.worker import Limits, finish
from worker.outcomes import Ended
from worker.uplink import Uplink

NOT_OURS = "no longer ours"
FLUSH_BYTES = 4 * 1024 * 1024
"""Results and logs that wait for the next round trip; more make one of their own."""
WORKED_STEP_S = 1.0
"""RQ's statistics of the worker learn of its working time in steps of at least this: each is a write of its own."""


class Reporter:
    """Sends endings along with whatever else goes to Redis. Sending them again after a lost reply changes nothing."""

    def __init__(self, uplink: Uplink, limits: Limits, *, show_finished: bool) -> None:
        self._uplink = uplink
        self._limits = limits
        self._show_finished = show_finished
        self._ended: list[Ended] = []
        self._bytes = 0
        self._worked_s = 0.0
        self._telling_s = 0.0

    @property
    def idle(self) -> bool:
        """Nothing waits to be recorded."""
        return not self._ended

    def add(self, ended: Ended) -> None:
        """Record this with the next exchange, or at once where much has come together."""
        self._ended.append(ended)
        self._bytes += len(ended.ending.result) + len(ended.ending.log)
        if self._bytes > FLUSH_BYTES:
            self.exchange()

    def worked(self, elapsed_s: float) -> None:
        """Time spent on executing, for RQ's statistics of the worker."""
        self._worked_s += elapsed_s

    def exchange(self, calls: Sequence[Call[Any]] = ()) -> list[Any] | None:
        """One round trip: endings first, then these calls. The calls' replies; None: Redis is away."""
        every = self._with_endings(calls)
        if not every:
            return []
        return self._settle(calls, self._uplink.attempt(lambda store: store.run_many(every)))

    def insist(self, calls: Sequence[Call[Any]] = ()) -> list[Any] | None:
        """The same until it has worked, for calls that may be repeated. None: told to stop and out of patience."""
        every = self._with_endings(calls)
        if not every:
            return []
        return self._settle(calls, self._uplink.insist(lambda store: store.run_many(every)))

    def _with_endings(self, calls: Sequence[Call[Any]]) -> list[Call[Any]]:
        if not self._ended:
            return list(calls)
        now_ns = time.time_ns()
        endings = [ended.ending for ended in self._ended]
        now_ms = now_ns * 1000 // NS_PER_S
        self._telling_s = round(self._worked_s, 6) if self._worked_s >= WORKED_STEP_S else 0
        return [finish(self._uplink.name, iso_utc(now_ns), now_ms, self._limits, self._telling_s, endings), *calls]

    def _settle(self, calls: Sequence[Call[Any]], replies: list[Any] | None) -> list[Any] | None:
        if replies is None or len(replies) == len(calls):
            return replies
        told, self._ended, self._bytes = self._ended, [], 0
        self._worked_s -= self._telling_s
        for ended, state in zip(told, replies[0], strict=True):
            if self._show_finished or ended.event != "run.finished":
                _tell(ended, state)
        return replies[1:]


def _tell(ended: Ended, state: str) -> None:
    job = ended.job
    emit(
        ended.event,
        run=job.claim.run_id,
        trigger=job.spec.trigger if job.spec else "",
        runnable=job.spec.runnable if job.spec else "",
        topic=job.message.topic if job.message else "",
        qos=job.message.qos if job.message else "",
        attempt=job.attempt,
        state=state or NOT_OURS,
        **ended.detail,
    )
