"""Redis as the worker's loop sees it: kept touch with, and met again after it was away."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from shared import keys
from shared.backoff import full_jitter
from shared.errors import StoreUnavailable
from shared.events import emit
from shared.metrics.catalogue import OUTAGES
from shared.scripts.worker import beat
from shared.store import Store
from worker.lease import BEATS_PER_LEASE, Continuity
from worker.stopping import StopRequest

AWAY_INITIAL_S = 0.1
AWAY_MAX_S = 1.0
"""Far below the lease time: whoever is alive is back before anybody sweeps."""
NAP_S = 0.1

Answer = TypeVar("Answer")


class Uplink:
    """The worker's only way to Redis. Beats in time whenever it is used, and before all else after an outage.

    Lets one outage be reported once, and holds back from trying while it would be too soon.
    """

    def __init__(self, store: Store, name: str, lease_ms: int, stop: StopRequest) -> None:
        self.name = name
        self.continuity = Continuity(lease_ms / 1000)
        self._store = store
        self._lease_ms = lease_ms
        self._stop = stop
        self._beat_at = 0.0
        self._beaten_at: float | None = None
        self._away_since: float | None = None
        self._attempts = 0
        self._retry_at = 0.0

    def attempt(self, work: Callable[[Store], Answer]) -> Answer | None:
        """Do it now. None: Redis is away, and it may or may not have been done."""
        now = time.monotonic()
        if self._away_since is not None and now < self._retry_at:
            return None
        try:
            if now >= self._beat_at:
                self._beat(now)
            answer = work(self._store)
        except StoreUnavailable as error:
            self._went_away(error)
            return None
        if self._away_since is not None:
            self._came_back()
        return answer

    def insist(self, work: Callable[[Store], Answer]) -> Answer | None:
        """Do it until it is known to be done: for what may be done twice. None: told to stop and out of patience."""
        while (answer := self.attempt(work)) is None and not self._stop.expired:
            self.nap()
        return answer

    def wait_for(self, work: Callable[[Store], Answer]) -> Answer | None:
        """The same for what nothing depends on: given up as soon as we are told to stop."""
        while (answer := self.attempt(work)) is None and not self._stop.requested:
            self.nap()
        return answer

    def keep_alive(self) -> None:
        """Beat if it is time."""
        if time.monotonic() >= self._beat_at:
            self.attempt(_nothing)

    def not_ready(self) -> list[str]:
        """Why the worker cannot do its work at this moment. Any thread may ask."""
        beaten_at = self._beaten_at
        if self._stop.requested:
            return ["it is stopping"]
        if self._away_since is not None:
            return ["Redis cannot be reached"]
        if beaten_at is None:
            return ["Redis has not answered yet"]
        silent_s = time.monotonic() - beaten_at
        return [f"its lease has run out: no beat for {silent_s:.0f} s"] if silent_s > self._lease_ms / 1000 else []

    @property
    def beat_in_s(self) -> float:
        """Seconds until a beat is due, negative if one is overdue."""
        return self._beat_at - time.monotonic()

    def lapsed(self) -> None:
        """Redis does not know that we live: the next use begins with a beat."""
        self.continuity.broken()
        self._beat_at = 0.0

    def part(self) -> None:
        """Give up the lease: this worker will claim nothing more. With claims left, it stays to be swept."""
        gone = self.attempt(
            lambda store: store.commands([("DEL", keys.worker(self.name)), ("HLEN", keys.claims(self.name))])
        )
        if gone is not None and gone[1] == 0:
            self.attempt(lambda store: store.commands([("SREM", keys.WORKERS, self.name)]))

    def nap(self) -> None:
        """Sleep until it makes sense to try again, a little at a time so that signals are noticed."""
        time.sleep(min(NAP_S, max(0.0, self._retry_at - time.monotonic())))

    def _beat(self, now: float) -> None:
        known = self._store.run(beat(self.name, self._lease_ms, self.continuity.generation))
        self._beaten_at = time.monotonic()
        self.continuity.renewed(now, self._beaten_at, known=known)
        self._beat_at = now + self._lease_ms / 1000 / BEATS_PER_LEASE

    def _went_away(self, error: StoreUnavailable) -> None:
        self.lapsed()
        now = time.monotonic()
        self._attempts += 1
        wait_s = full_jitter(self._attempts, AWAY_INITIAL_S, AWAY_MAX_S, random.random)
        self._retry_at = now + wait_s
        if self._away_since is None:
            self._away_since = now
            OUTAGES.of().add()
            emit("store.unavailable", error=error, attempt=self._attempts, retry_in_s=round(wait_s, 2))

    def _came_back(self) -> None:
        if self._away_since is not None:
            emit("store.available", away_ms=round((time.monotonic() - self._away_since) * 1000))
        self._away_since = None
        self._attempts = 0


def _nothing(_store: Store) -> bool:
    return True
