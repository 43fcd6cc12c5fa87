"""The loop of dispatch: read, decide, place; for ever, through outages of Redis."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence

from dispatch.inbox import Inbox
from dispatch.modes import Modes
from dispatch.placing import Entry, decide, in_parts
from dispatch.spans import tell_placed
from dispatch.triggers import TriggerVersions
from shared.backoff import full_jitter
from shared.clock import iso_utc
from shared.config import Settings
from shared.errors import NewerEnvelope, StoreUnavailable
from shared.events import emit
from shared.metrics.catalogue import OUTAGES, PLACE, TAKEN_OVER
from shared.metrics.health import SILENT_S
from shared.scripts.dispatch import Placement, place, retire_consumers
from shared.store import Store
from shared.tracing import spans

BYTES_PER_PLACE = 8 * 1024 * 1024
"""Redis does nothing else during one step: large messages are placed a few at a time."""
RETIRE_EVERY_S = 60.0
RETIRE_IDLE_MS = 3_600_000
AWAY_INITIAL_S = 0.1
AWAY_MAX_S = 2.0
_NS_PER_MS = 1_000_000


class Dispatcher:
    """Places what is in the inbox until `stopping()` says so.

    Killed at any moment, it leaves its entries pending: it, or another dispatcher, places them later. Stalled, it
    places nothing that another has placed meanwhile, because `place` goes by the acknowledgement.
    """

    def __init__(self, store: Store, consumer: str, settings: Settings, stopping: Callable[[], bool]) -> None:
        self._store = store
        self._settings = settings.dispatch
        self._dead_max = settings.retention.dead_max
        self._stopping = stopping
        self._inbox = Inbox(store, consumer, self._settings.batch)
        self._versions = TriggerVersions(store)
        self._modes = Modes(store)
        self._take_over_at = time.monotonic() + self._settings.claim_idle_ms / 1000
        self._retire_at = time.monotonic() + RETIRE_EVERY_S
        self._away = True
        self._answered_at = time.monotonic()

    def not_ready(self) -> list[str]:
        """Why it cannot do its work at this moment. Any thread may ask."""
        silent_s = time.monotonic() - self._answered_at
        if self._stopping():
            return ["it is stopping"]
        if self._away:
            return ["Redis cannot be reached, or has not answered yet"]
        return [f"Redis has not answered for {silent_s:.0f} s"] if silent_s > SILENT_S else []

    def run(self, ready: Callable[[], None]) -> None:
        """Returns when asked to stop; tells once when Redis answers. Raises NewerEnvelope: this release must end."""
        away = 0
        told = False
        while not self._stopping():
            try:
                self._inbox.ensure_group()
                self._answered()
                while own := self._inbox.read_own():
                    self._place(own)
                if away:
                    emit("store.available")
                    away = 0
                if not told:
                    ready()
                    told = True
                self._serve()
            except StoreUnavailable as error:
                self._away = True
                if not away:
                    emit("store.unavailable", error=error)
                    OUTAGES.of().add()
                away += 1
                wait_s = full_jitter(away, AWAY_INITIAL_S, AWAY_MAX_S, random.random)
                time.sleep(wait_s)

    def _serve(self) -> None:
        while not self._stopping():
            entries = self._inbox.read_new(self._settings.block_ms)
            self._answered()
            if entries:
                self._place(entries)
            self._look_after_others()

    def _answered(self) -> None:
        self._away = False
        self._answered_at = time.monotonic()

    def _look_after_others(self) -> None:
        now = time.monotonic()
        if now >= self._take_over_at:
            self._take_over_at = now + self._settings.claim_idle_ms / 1000
            while entries := self._inbox.take_over(self._settings.claim_idle_ms):
                emit("inbox.entries_taken_over", entries=len(entries), idle_ms=self._settings.claim_idle_ms)
                TAKEN_OVER.of().add(len(entries))
                self._place(entries)
        if now >= self._retire_at:
            self._retire_at = now + RETIRE_EVERY_S
            self._store.run(retire_consumers(RETIRE_IDLE_MS))

    def _place(self, entries: list[Entry]) -> None:
        """Settle entries; those before one of a newer release are settled first."""
        now_ns = time.time_ns()
        placements: list[Placement] = []
        newer: NewerEnvelope | None = None
        for entry in entries:
            try:
                placements.append(decide(entry, self._versions, self._versions.owner, now_ns // 1_000_000))
            except NewerEnvelope as error:
                newer = error
                emit("inbox.newer_envelope", entry=entry.id.decode(), version=error.fields["version"])
                break
        for part in in_parts(placements, BYTES_PER_PLACE):
            self._settle(part, now_ns)
            _measure(part)
            _report(part)
        if spans.is_on():
            tell_placed(entries, placements, time.time_ns())
        if newer is not None:
            raise newer

    def _settle(self, placements: list[Placement], now_ns: int) -> None:
        """Place by what is deployed at this moment."""
        while True:
            part, number = self._modes.applied(placements), self._modes.number
            settled = self._store.run(place(part, iso_utc(now_ns), now_ns // 1000, self._dead_max, number))
            self._answered()
            if settled is not None:
                return
            self._modes.follow()


def _measure(placements: Sequence[Placement]) -> None:
    """How long each message has lain. An entry's id begins with the time at which it was stored, by Redis' clock."""
    now_ms = time.time_ns() // _NS_PER_MS
    stored = Counter([(each.trigger, each.entry.partition(b"-")[0]) for each in placements])
    for (trigger, at_ms), count in stored.items():
        PLACE.of(trigger).observe((now_ms - int(at_ms)) / 1000, count)


def _report(placements: list[Placement]) -> None:
    for placement in placements:
        if placement.verdict == "poisoned":
            emit("inbox.poisoned", entry=placement.entry.decode())
        elif placement.verdict == "unrouted":
            emit("message.unrouted", trigger=placement.trigger)
