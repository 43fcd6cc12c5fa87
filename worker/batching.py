"""How many runs to take at once. Pure: from measured durations to sizes.

Many fast runs share one round trip; slow code is taken one by one, so that no run waits in the hands of a worker that
is busy while another worker is free. What is not known yet counts as slow.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import inf
from statistics import median_high

RECENT = 32
"""A version that was not executed among this many groups no longer has a say in the size of a claim."""
IN_HAND = 3
"""Groups that a busy worker holds: one executes, one is being recorded as started, one is being claimed."""
WORTH_OVERLAPPING = 8
"""Runs of a group from which on it pays to have Redis work while their code does."""
MEASUREMENTS = 5
"""The cost of a version is the median of so many groups, so that a machine that was busy elsewhere changes nothing."""


class BatchSizer:
    """Sizes of claims and of groups that are started together, so that all in hand is about `target_s` of work."""

    def __init__(self, size_max: int, target_s: float) -> None:
        self._size_max = size_max
        self._target_s = target_s
        self._group_s = target_s / IN_HAND
        self._measured_s: dict[str, deque[float]] = {}
        self._cost_s: dict[str, float] = {}
        self._seen: dict[str, int] = {}
        self._groups = 0

    def observe(self, version: str, runs: int, elapsed_s: float) -> None:
        """A group of runs of one script version took this long to execute."""
        measured = self._measured_s.setdefault(version, deque(maxlen=MEASUREMENTS))
        measured.append(elapsed_s / runs)
        self._cost_s[version] = median_high(measured)
        self._groups += 1
        self._seen[version] = self._groups

    def cost_s(self, version: str, runs: int) -> float:
        """Seconds that these runs are expected to take; infinite for a version that was never executed."""
        return self._cost_s.get(version, inf) * runs

    def group_size(self, version: str) -> int:
        """How many runs of this version to start together: 1 as long as it has never been executed."""
        return max(1, self._size(self._cost_s.get(version, inf), self._group_s))

    def claim_size(self, held_s: float = 0.0) -> int:
        """How many runs to claim on top of `held_s` of work: 0 if that is enough, at least 1 if it is none.

        Which versions they are of is not known before, so the slowest recent one decides.
        """
        recent = [cost_s for version, cost_s in self._cost_s.items() if self._seen[version] > self._groups - RECENT]
        size = self._size(max(recent, default=inf), min(self._group_s, self._target_s - held_s))
        return size if held_s else max(1, size)

    def fits(self, held_s: float) -> bool:
        """Whether so much work may be held at once."""
        return held_s <= self._target_s

    def is_full(self, version: str, runs: int) -> bool:
        """Whether this is as large a group as there may be, of quick runs: then there probably are more to come."""
        return runs >= min(self._size_max, max(WORTH_OVERLAPPING, self.group_size(version)))

    def _size(self, cost_s: float, room_s: float) -> int:
        if room_s <= 0:
            return 0
        return self._size_max if cost_s * self._size_max <= room_s else int(room_s / cost_s)


def group_length(kinds: Sequence[tuple[str, bool]], limit: int) -> int:
    """How many runs at the head of a line may be started together, of (script version, may not share a start) each.

    At least one, if there is any; at most `limit`; all of one version, and one that may not share stands alone.
    """
    if not kinds:
        return 0
    version, alone = kinds[0]
    length = 1
    if not alone:
        while length < min(limit, len(kinds)) and kinds[length] == (version, False):
            length += 1
    return length
