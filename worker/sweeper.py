"""Settling what dead workers have left."""

from __future__ import annotations

import time

import msgspec

from shared.clock import NS_PER_S, iso_utc
from shared.events import emit
from shared.metrics.catalogue import SWEPT
from shared.scripts.worker import Limits, Swept, sweep
from shared.store import Store
from worker.outcomes import packed_text
from worker.runners.base import RunErrorInfo
from worker.uplink import Uplink

SWEEP_EVERY_S = 1.0
RUNS_PER_SWEEP = 500
NOTHING = Swept(0, 0, 0, 0, 0)
_CAUSE = "the worker died while the code ran"
_ERROR = msgspec.json.encode(RunErrorInfo("WorkerDied", _CAUSE)).decode()
_TRACEBACK = packed_text(_CAUSE)


class Sweeper:
    """Sweeps while this worker has kept touch with Redis long enough to know that the silent ones are dead."""

    def __init__(self, uplink: Uplink, limits: Limits) -> None:
        self._uplink = uplink
        self._limits = limits

    def sweep(self) -> bool:
        """One step, if it is allowed; True when there may be more to do."""
        swept = self._uplink.attempt(self._step)
        if swept is None:
            return False
        if swept.workers < 0:
            self._uplink.lapsed()
            return False
        runs = swept.queued + swept.lost + swept.interrupted + swept.failed
        if runs:
            for state in ("queued", "lost", "interrupted", "failed"):
                SWEPT.of(state).add(getattr(swept, state))
            emit(
                "worker.swept",
                requeued=swept.queued,
                lost=swept.lost,
                interrupted=swept.interrupted,
                dead=swept.interrupted + swept.failed,
            )
        return runs >= RUNS_PER_SWEEP

    def _step(self, store: Store) -> Swept:
        """Decides only here, after the beat that comes before it: that beat may have told of a gap."""
        continuity = self._uplink.continuity
        if not continuity.may_sweep(time.monotonic()):
            return NOTHING
        now_ns = time.time_ns()
        call = sweep(
            self._uplink.name,
            iso_utc(now_ns),
            now_ns * 1000 // NS_PER_S,
            self._limits,
            RUNS_PER_SWEEP,
            _ERROR,
            _TRACEBACK,
            generation=continuity.generation,
            fresh_ms=int(continuity.fresh_s * 1000),
        )
        return store.run(call)
