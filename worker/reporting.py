"""Endings on their way to Redis: kept until they are known to be recorded, told of once they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from shared.clock import NS_PER_S, iso_utc
from shared.events import emit
from shared.metrics.catalogue import BUSY
from shared.scripts.call import Call
from shared.scripts.worker import Limits, finish
from shared.store import Underway
from worker.measuring import measure_ended
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
        self._telling = 0
        self._telling_ms = 0
        self._before = 0
        self._telling_s = 0.0
        self._exchange: Exchange | None = None
        self._underway: Underway | None = None

    @property
    def idle(self) -> bool:
        """Nothing waits to be recorded."""
        return not self._ended

    def add(self, ended: Ended) -> None:
        """Record this with the next exchange, or at once where much has come together."""
        self._ended.append(ended)
        self._bytes += _size(ended)
        if self._bytes > FLUSH_BYTES:
            self.exchange()

    def worked(self, elapsed_s: float) -> None:
        """Time spent on executing, for the worker's metrics and RQ's statistics of it."""
        BUSY.of().add(elapsed_s)
        self._worked_s += elapsed_s

    def exchange(self, calls: Sequence[Call[Any]] = ()) -> list[Any] | None:
        """One round trip: endings first, then these calls. The calls' replies; None: Redis is away."""
        return self.begin(calls).replies()

    def begin(self, calls: Sequence[Call[Any]] = ()) -> Exchange:
        """The same, without waiting for the replies: they are there to be asked for. One that was begun before ends."""
        self._end_exchange()
        every = self._with_endings(calls)
        exchange = Exchange(self._end_exchange, calls)
        if not every:
            exchange.answer = []
        elif (underway := self._uplink.attempt(lambda store: store.begin(every))) is not None:
            self._exchange, self._underway = exchange, underway
        return exchange

    def insist(self, calls: Sequence[Call[Any]] = ()) -> list[Any] | None:
        """The same until it has worked, for calls that may be repeated. None: told to stop and out of patience."""
        self._end_exchange()
        every = self._with_endings(calls)
        if not every:
            return []
        return self._settle(calls, self._uplink.insist(lambda store: store.run_many(every)))

    def _end_exchange(self) -> None:
        """Wait for the replies that are under way, if any."""
        exchange, underway = self._exchange, self._underway
        self._exchange = self._underway = None
        if exchange is not None and underway is not None:
            exchange.answer = self._settle(exchange.calls, self._uplink.attempt(lambda _: underway.result()))

    def _with_endings(self, calls: Sequence[Call[Any]]) -> list[Call[Any]]:
        self._telling = len(self._ended)
        self._before = 0
        if not self._ended:
            return list(calls)
        now_ns = time.time_ns()
        endings = [ended.ending for ended in self._ended]
        now_ms = self._telling_ms = now_ns * 1000 // NS_PER_S
        self._telling_s = round(self._worked_s, 6) if self._worked_s >= WORKED_STEP_S else 0
        before = [ended.record for ended in self._ended if ended.record is not None]
        self._before = len(before)
        told = finish(self._uplink.name, iso_utc(now_ns), now_ms, self._limits, self._telling_s, endings)
        return [*before, told, *calls]

    def _settle(self, calls: Sequence[Call[Any]], replies: list[Any] | None) -> list[Any] | None:
        if replies is None or len(replies) == len(calls):
            return replies
        told, self._ended = self._ended[: self._telling], self._ended[self._telling :]
        self._bytes = sum(map(_size, self._ended))
        self._worked_s -= self._telling_s
        states, rest = replies[self._before], replies[self._before + 1 :]
        measure_ended(told, states, self._telling_ms)
        for ended, state in zip(told, states, strict=True):
            if self._show_finished or ended.event != "run.finished":
                _tell(ended, state)
        return rest


class Exchange:
    """A round trip that has been begun."""

    __slots__ = ("_end", "answer", "calls")

    def __init__(self, end: Callable[[], None], calls: Sequence[Call[Any]]) -> None:
        self._end = end
        self.calls = calls
        self.answer: list[Any] | None = None

    def replies(self) -> list[Any] | None:
        """The replies to the calls; waits for them. None: not known, Redis is away."""
        self._end()
        return self.answer


def _size(ended: Ended) -> int:
    return len(ended.ending.result) + len(ended.ending.log)


def _tell(ended: Ended, state: str) -> None:
    job, message = ended.job, ended.job.message
    emit(
        ended.event,
        run=job.claim.run_id,
        trigger=job.spec.trigger if job.spec and message else None,
        runnable=job.spec.runnable if job.spec else "",
        topic=message.topic if message else None,
        qos=message.qos if message else None,
        attempt=job.attempt,
        state=state or NOT_OURS,
        **ended.detail,
    )
