"""How many runs to take at once. Pure: from measured durations to sizes.

Many fast runs share one round trip; slow code is taken one by one, so that no run waits in the hands of a worker that
is busy while another worker is free. What is not known yet counts as slow.
"""

from __future__ import annotations

from collections.abc import Sequence

RECENT = 32
"""A version that was not executed among this many groups no longer has a say in the size of a claim."""
EASING = 0.3
"""Weight of the newest measurement. Enough for code that has become slow: its first time is far above any average."""


class BatchSizer:
    """Sizes of claims and of groups that are started together, so that they hold about `target_s` of work."""

    def __init__(self, size_max: int, target_s: float) -> None:
        self._size_max = size_max
        self._target_s = target_s
        self._cost_s: dict[str, float] = {}
        self._seen: dict[str, int] = {}
        self._groups = 0

    def observe(self, version: str, runs: int, elapsed_s: float) -> None:
        """A group of runs of one script version took this long, from asking for its start to its last answer."""
        measured = elapsed_s / runs
        known = self._cost_s.get(version, measured)
        self._cost_s[version] = known + EASING * (measured - known)
        self._groups += 1
        self._seen[version] = self._groups

    def is_quick(self, version: str, runs: int) -> bool:
        """Whether these runs are expected to end within the target."""
        cost_s = self._cost_s.get(version)
        return cost_s is not None and cost_s * runs <= self._target_s

    def group_size(self, version: str) -> int:
        """How many runs of this version to start together: 1 as long as it has never been executed."""
        return self._size(self._cost_s.get(version))

    def claim_size(self) -> int:
        """How many runs to claim. Which versions they are of is not known before, so the slowest recent one decides."""
        recent = [cost_s for version, cost_s in self._cost_s.items() if self._seen[version] > self._groups - RECENT]
        return self._size(max(recent, default=None))

    def _size(self, cost_s: float | None) -> int:
        if cost_s is None:
            return 1
        if cost_s * self._size_max <= self._target_s:
            return self._size_max
        return max(1, int(self._target_s / cost_s))


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
