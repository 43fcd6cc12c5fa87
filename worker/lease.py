"""The worker's life in Redis, by its own clock: how long its lease was held without a gap. Pure.

A lease that has run out does not prove that its worker is dead: Redis may have been away, and then every lease has
run out. So a worker settles what others left behind only after it has itself kept touch for twice the lease time, in
which every living worker has come back too. A gap of half the lease time counts as lost touch already: workers beat
every quarter, so leases of living workers outlast a standstill of Redis that is shorter.
"""

from __future__ import annotations

BEATS_PER_LEASE = 4


class Continuity:
    """Since when a lease of `lease_s` seconds has been held without a gap. All times are seconds of one steady clock.

    `generation` grows with every gap and goes with every beat and every sweep, so that Redis refuses a sweep that was
    asked for before a gap and reaches it after.
    """

    def __init__(self, lease_s: float) -> None:
        self._lease_s = lease_s
        self._since: float | None = None
        self._asked_at = 0.0
        self.generation = 1

    @property
    def fresh_s(self) -> float:
        """The longest time since the last beat with which this worker still counts as in touch."""
        return self._lease_s / 2

    def renewed(self, asked_at: float, answered_at: float, *, known: bool) -> None:
        """A beat was answered. `known`: Redis still had the lease."""
        if not known or answered_at - self._asked_at > self.fresh_s:
            self.broken()
        if self._since is None:
            self._since = asked_at
        self._asked_at = asked_at

    def broken(self) -> None:
        """Redis could not be reached, or has refused us as unknown."""
        if self._since is not None:
            self._since = None
            self.generation += 1

    def may_sweep(self, now: float) -> bool:
        """Whether what looks dead to Redis is dead."""
        return (
            self._since is not None and now - self._since >= 2 * self._lease_s and now - self._asked_at <= self.fresh_s
        )
