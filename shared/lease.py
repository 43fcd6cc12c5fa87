"""Leases: who may act for a session, and how long a process may believe that it still does.

*The term.* A lease is taken for a term, and the fencing token is the term's identity: it grows with every taking and
never comes back. Two terms of one process are as foreign to each other as those of two processes. Everything that a
holder writes carries its token, and Redis refuses all but the newest (`shared/scripts/`). So a lease that was lost
unnoticed can do no harm in Redis; what is left to protect is the broker, which knows no tokens.

*Local trust.* Redis keeps a lease until `ttl` after it carried out the last renewal. The holder does not know when that
was, only that it was not before it sent the request. It therefore counts from the start of the attempt, on a clock
that does not jump, and ends its trust earlier than Redis ends the lease. A reply that comes late shortens the trust,
it never lengthens it. An attempt without a reply changes nothing: it may have renewed the lease or not.

*What trust is needed for.* CONNECT, because a broker that gets one throws out whoever else has the client id. It is
sent only within the first third of a lease's life after a confirmed renewal: two thirds are left for it to arrive
before anybody else may take the lease. A holder that was stopped and wakes up cannot pass this test without asking
Redis first, and then learns that its term is over.

*What it is not needed for.* An open connection is kept when trust has run out, for example while Redis is away: nobody
else can take the lease without Redis either, nothing is acknowledged that was not stored under the token, and if
another process did take it, its CONNECT makes the broker close ours. A lease that has expired may be renewed as long
as nobody has taken it.

*Life.* It is renewed every third of its time, so that two attempts may fail. A holder that ends in good order releases
it; one that dies leaves it to expire, which bounds the time without a session.
"""

from __future__ import annotations

import msgspec

_SHARE = 3
"""Trust and the time between renewals are this part of the lease's time."""


class Lease(msgspec.Struct, frozen=True):
    """A term as its holder sees it. All times are seconds of one monotonic clock of the holder's."""

    token: int
    ttl_s: float
    attempted_at: float
    """When the newest attempt that was confirmed (the taking, or a renewal) began."""

    def confirmed(self, attempted_at: float) -> Lease:
        """The lease after a renewal that began then was confirmed. Late replies never turn the time back."""
        return Lease(self.token, self.ttl_s, max(self.attempted_at, attempted_at))

    @property
    def renew_at(self) -> float:
        """When the next renewal is due."""
        return self.attempted_at + self.ttl_s / _SHARE

    def may_connect(self, now: float) -> bool:
        """Whether a CONNECT may be sent at this moment."""
        return now - self.attempted_at < self.ttl_s / _SHARE
