"""What loops write to: counters, histograms, gauges. Writing costs a fraction of a microsecond and never waits.

There is no lock: each instrument is written by one thread. Where two meet (connections of the console's threads), an
increment may be lost, nothing worse. Reading is done by another thread; a histogram's count is the sum of its buckets,
so that the two agree at any moment.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import Generic, Literal, TypeVar

import msgspec

Kind = Literal["counter", "gauge", "histogram"]
Process = Literal["ingest", "dispatch", "worker", "console"]

SERIES_MAX = 1000
"""So many triggers, or other first labels, a process tells apart. What comes later is counted under OTHER."""
OTHER = "(other)"
NO_TRIGGER = "(none)"
"""The trigger of runs that no message made."""


class Spec(msgspec.Struct, frozen=True):
    """One metric. `by`: the kinds of processes that export it. A label `trigger` is the first one."""

    name: str
    kind: Kind
    by: tuple[Process, ...]
    description: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


class Count:
    """Something that only grows."""

    __slots__ = ("value",)

    def __init__(self, _spec: Spec) -> None:
        self.value = 0.0

    def add(self, amount: float = 1) -> None:
        """It happened, or so much more of it."""
        self.value += amount


class Distribution:
    """How often what was observed came to lie in which bucket: `counts` has one more than there are bounds."""

    __slots__ = ("_bounds", "counts", "sum")

    def __init__(self, spec: Spec) -> None:
        self._bounds = spec.buckets
        self.counts = [0] * (len(spec.buckets) + 1)
        self.sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """It was this much, for so many. Clocks of two machines may differ: less than nothing counts as nothing."""
        if value < 0:
            value = 0.0
        self.counts[bisect_left(self._bounds, value)] += times
        self.sum += value * times

    def observe_all(self, values: list[float]) -> None:
        """It was as much as each of these, which are put in order."""
        values.sort()
        below = 0
        for bucket, bound in enumerate(self._bounds):
            upto = bisect_right(values, bound, below)
            self.counts[bucket] += upto - below
            below = upto
            if below == len(values):
                break
        else:
            self.counts[-1] += len(values) - below
        self.sum += sum(values) if not values or values[0] >= 0 else sum(value for value in values if value > 0)


Series = TypeVar("Series", Count, Distribution)


class Family(Generic[Series]):
    """A metric with its series by label values."""

    def __init__(self, spec: Spec, make: Callable[[Spec], Series]) -> None:
        self.spec = spec
        self.series: dict[tuple[str, ...], Series] = {}
        self._make: Callable[[Spec], Series] = make
        if not spec.labels:
            self.of()

    def of(self, *values: str) -> Series:
        """The series with these values of the labels."""
        found = self.series.get(values)
        return found if found is not None else self._new(values)

    def _new(self, values: tuple[str, ...]) -> Series:
        if len(self.series) >= SERIES_MAX:
            values = (OTHER, *values[1:])
        found = self.series.get(values)
        if found is None:
            found = self.series[values] = self._make(self.spec)
        return found


class Gauge:
    """What goes up and down, read when somebody asks. Nothing is told before `read_by`."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.read: Callable[[], float] | None = None

    def read_by(self, read: Callable[[], float]) -> None:
        """Ask this from now on; in another thread than the loop's, so it only looks."""
        self.read = read


class Reading(msgspec.Struct, frozen=True):
    """What a metric was at one moment: (label values, value) of each series."""

    spec: Spec
    values: Sequence[tuple[tuple[str, ...], float]]
