"""Cancelling runs: one that waits at once, one that runs by its worker."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import islice
from typing import Final

import msgspec

from shared.clock import iso_utc
from shared.history import search
from shared.run_query import SCAN, Query
from shared.run_record import is_run_id
from shared.runs import LIVE
from shared.scripts import operate
from shared.store import Store

_AT_ONCE: Final = 100


class Cancelled(msgspec.Struct, frozen=True):
    """What came of a wish to cancel. `was`: the state that the run had, '' where there is none."""

    id: str
    was: str

    @property
    def is_done(self) -> bool:
        """Whether it will run no further."""
        return self.was in LIVE


class CancelledAll(msgspec.Struct, frozen=True):
    """How many were cancelled, and how many that run are told to stop; `more`: the time was up before all were."""

    cancelled: int
    stopping: int
    more: bool


def cancel_all(store: Store, query: Query, who: str, reason: str, for_s: float) -> CancelledAll:
    """Cancel what fits and has not ended, newest first, for so many seconds. May be repeated."""
    states = (query.states or frozenset(LIVE)) & frozenset(LIVE)
    end = time.monotonic() + for_s
    cancelled = stopping = 0
    if states:
        wanted = msgspec.structs.replace(query, states=states, limit=SCAN, scan=SCAN)
        found = (run.id for run in search(store, wanted, lambda _: None))
        while portion := list(islice(found, _AT_ONCE)):
            was = [outcome.was for outcome in cancel(store, portion, who, reason) if outcome.is_done]
            stopping += was.count("running")
            cancelled += len(was) - was.count("running")
            if time.monotonic() > end:
                return CancelledAll(cancelled, stopping, more=True)
    return CancelledAll(cancelled, stopping, more=False)


def cancel(store: Store, ids: Sequence[str], who: str, reason: str) -> list[Cancelled]:
    """Cancel these; what has ended is left alone. May be repeated."""
    outcomes: list[Cancelled] = []
    for start in range(0, len(ids), _AT_ONCE):
        portion = ids[start : start + _AT_ONCE]
        now_ns = time.time_ns()
        known = [run_id for run_id in portion if is_run_id(run_id)]
        calls = [operate.cancel(run_id, iso_utc(now_ns), now_ns // 1_000_000, who, reason) for run_id in known]
        states = dict(zip(known, store.run_many(calls), strict=True)) if calls else {}
        outcomes += [Cancelled(run_id, states.get(run_id, "")) for run_id in portion]
    return outcomes
