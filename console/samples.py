"""What the charts are made of: the counters of the whole, read now and then and kept for an hour, in this process."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import msgspec

from shared.errors import HeadraceError
from shared.scripts.operate import Snapshot, snapshot
from shared.status import oldest_age_ms
from shared.store import AsyncStore

EVERY_S: Final = 5
KEPT: Final = 720
BADLY: Final = ("failed", "lost", "interrupted")
_MINUTE_S: Final = 60


class Sample(msgspec.Struct, frozen=True):
    """The whole at one instant, epoch seconds by Redis' clock: three counters that only rise, and what is there now.

    `age_s` is that of the oldest message or run that waits.
    """

    at: float
    received: int
    runs: int
    badly: int
    dead: int
    inbox: int
    queue: int
    running: int
    age_s: float


class Rates(msgspec.Struct, frozen=True):
    """How many in the last minute; None while it is not known."""

    received: float | None
    runs: float | None
    badly: float | None


def sample_of(found: Snapshot) -> Sample:
    """From what Redis holds. Pure."""

    def total(*cells: str) -> int:
        return sum(counts.get(cell, 0) for counts in found.counters.values() for cell in cells)

    claimed = sum(worker.claimed for worker in found.workers)
    return Sample(
        at=found.now_us / 1e6,
        received=total("received"),
        runs=total("runs"),
        badly=total(*BADLY),
        dead=found.dead,
        inbox=found.inbox,
        queue=found.queue + claimed,
        running=found.started,
        age_s=(oldest_age_ms(found) or 0) / 1000,
    )


class Samples:
    """The samples of the last hour. One loop fills them; pages read."""

    def __init__(self) -> None:
        self._kept: deque[Sample] = deque(maxlen=KEPT)

    def add(self, sample: Sample) -> None:
        """One more. Where counters are lower than before, Redis was emptied: all is forgotten."""
        if self._kept and sample.received < self._kept[-1].received:
            self._kept.clear()
        self._kept.append(sample)

    def rates(self) -> Rates:
        """Of the last minute."""
        if len(self._kept) < 2:  # noqa: PLR2004 - a rate is between two
            return Rates(None, None, None)
        last = self._kept[-1]
        first = next(each for each in self._kept if each.at >= last.at - _MINUTE_S - EVERY_S / 2)
        span = last.at - first.at
        if not span:
            return Rates(None, None, None)

        def per_minute(before: int, after: int) -> float:
            return (after - before) / span * _MINUTE_S

        return Rates(
            per_minute(first.received, last.received),
            per_minute(first.runs, last.runs),
            per_minute(first.badly, last.badly),
        )

    def columns(self, after: float = 0) -> dict[str, list[float | None]]:
        """Those after a time, as columns; counters as how many in a minute since the sample before."""
        kept = list(self._kept)
        pairs = [(before, each) for before, each in zip([None, *kept], kept, strict=False) if each.at > after]
        columns: dict[str, list[float | None]] = {"at": [each.at for _, each in pairs]}
        for name in ("received", "runs", "badly"):
            columns[name] = [_rate(name, before, each) for before, each in pairs]
        for name in ("dead", "inbox", "queue", "running", "age_s"):
            columns[name] = [getattr(each, name) for _, each in pairs]
        return columns

    async def fill(self, store: AsyncStore) -> None:
        """Read for ever; while Redis is away there are no samples."""
        while True:
            with suppress(HeadraceError):  # whoever looks at a page is told
                self.add(sample_of(await store.run(snapshot())))
            await asyncio.sleep(EVERY_S)


def _rate(name: str, before: Sample | None, each: Sample) -> float | None:
    if before is None or each.at <= before.at:
        return None
    rise: int = getattr(each, name) - getattr(before, name)
    return round(rise / (each.at - before.at) * _MINUTE_S, 2)


def sparkline(counts: Sequence[int], height: int = 22) -> list[tuple[int, float]]:
    """Bars of a small chart: (x, height) for each that is not zero."""
    most = max(counts, default=0)
    return [(4 * i, max(1.5, round(height * count / most, 1))) for i, count in enumerate(counts) if count]
