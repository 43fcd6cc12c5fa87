"""The leases that this process holds: taking free ones, renewing, giving back. The arithmetic is in `shared/lease.py`.

All leases are renewed in one round trip, however many there are.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable, Sequence

from shared.lease import Lease
from shared.scripts import ingest as verbs
from shared.scripts.call import Call
from shared.store import AsyncStore

ROUND_S = 0.2
"""Time between two rounds of `take_some` for a process that holds nothing."""
_BALANCE_S = 0.3


def new_holder() -> str:
    """A name for this start of the process: it never comes again, not even with the same process id."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"


class Leases:
    """The leases of one process.

    Each term has a holder's name of its own. Taking a lease again under the name that still holds it would continue
    the old term, with call numbers that Redis has seen.
    """

    def __init__(
        self, store: AsyncStore, process: str, ttl_ms: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.held: dict[str, Lease] = {}
        self.clock = clock
        self.ttl_ms = ttl_ms
        self._store = store
        self.process = process
        self._terms: dict[str, int] = {}
        self._leaving: dict[str, int] = {}
        self._turn = 0

    def holder(self, session: str) -> str:
        """The name under which this process holds, or tries for, the session's lease."""
        term = self._terms.get(session, 0)
        return f"{self.process}/{term}" if term else self.process

    async def take_some(self, wanted: Sequence[str]) -> dict[str, Lease]:
        """Try for half of the sessions that are wanted and not held, the other half the next time; what was taken.

        Several processes that start together so come to share the sessions. Raises StoreUnavailable.
        """
        missing = [session for session in wanted if session not in self.held]
        tried = missing[self._turn % 2 :: 2] or missing
        self._turn += 1
        await self._release_leaving()
        if not tried:
            return {}
        began = self.clock()
        calls = [verbs.lease_acquire(session, self.holder(session), self.ttl_ms) for session in tried]
        replies = await self._store.run_many(calls)
        taken = {
            session: Lease(reply.token, self.ttl_ms / 1000, began)
            for session, reply in zip(tried, replies, strict=True)
            if reply.token
        }
        self.held |= taken
        return taken

    def next_round_s(self, wanted: int) -> float:
        """Seconds until the next `take_some`: whoever holds more of what is wanted waits longer."""
        return ROUND_S + _BALANCE_S * len(self.held) / max(1, wanted)

    async def renew_due(self) -> list[str]:
        """Renew what is due; the sessions whose lease somebody else has taken. Raises StoreUnavailable."""
        began = self.clock()
        due = {session: lease for session, lease in self.held.items() if lease.renew_at <= began}
        if not due:
            return []
        renewed = await self._store.run_many([self.renewal(session, lease.token) for session, lease in due.items()])
        lost = []
        for (session, lease), still_ours in zip(due.items(), renewed, strict=True):
            if still_ours:
                self.confirm(session, lease.token, began)
            elif session in self.held:
                lost.append(session)
        return lost

    def renewal(self, session: str, token: int) -> Call[bool]:
        """The call that renews a lease which we hold."""
        return verbs.lease_renew(session, token, self.holder(session), self.ttl_ms)

    def confirm(self, session: str, token: int, attempted_at: float) -> Lease | None:
        """Note that a renewal which began then was answered with yes; the lease, None if our term has ended."""
        lease = self.held.get(session)
        if lease is None or lease.token != token:
            return None
        self.held[session] = lease.confirmed(attempted_at)
        return self.held[session]

    def end(self, session: str, token: int) -> None:
        """End our term: with the next round the lease is free, if it is still ours. Twice is once."""
        lease = self.held.get(session)
        if lease is not None and lease.token == token:
            del self.held[session]
            self._terms[session] = self._terms.get(session, 0) + 1
            self._leaving[session] = token

    async def release_all(self) -> None:
        """End all terms and give the leases back. Raises StoreUnavailable."""
        for session, lease in list(self.held.items()):
            self.end(session, lease.token)
        await self._release_leaving()

    async def _release_leaving(self) -> None:
        leaving = dict(self._leaving)
        if leaving:
            await self._store.run_many([verbs.lease_release(session, token) for session, token in leaving.items()])
            for session, token in leaving.items():
                if self._leaving.get(session) == token:
                    del self._leaving[session]
