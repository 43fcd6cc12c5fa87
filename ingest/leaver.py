"""Drains or ends a session that was left behind, for one term of its lease; then forgets it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from ingest.assignment import Assignment
from ingest.departure import Act, Departure, Seen
from ingest.keeper import Keeper, Tools
from ingest.session_states import State
from ingest.writer import RETRY_FIRST_S, RETRY_MAX_S
from shared import keys
from shared.backoff import full_jitter
from shared.errors import StoreUnavailable
from shared.events import emit
from shared.lease import Lease
from shared.left import Wish, decode_left
from shared.scripts import ingest as verbs

LOOK_S = 0.25
T = TypeVar("T")


class Leaver(Keeper):
    """A keeper of a session that no trigger has. It goes on until the broker has ended the session, then removes what
    Redis knows of it. The order makes it safe to be killed at any moment: until it is removed, all is done again.
    """

    def __init__(self, assignment: Assignment, wish: Wish, lease: Lease, tools: Tools) -> None:
        self._departure = Departure(wish)
        super().__init__(assignment, lease, tools, self._departure)

    async def run(self) -> None:
        """As for any keeper, if it is still asked for; and what is over is removed.

        The look at the record is needed: to connect for one that another process has just removed would begin a session
        at the broker that nobody knows of. Who holds the lease is alone in removing it.
        """
        if not await self._is_asked():
            return
        await super().run()
        if self._departure.over:
            await self._remove()

    def _work(self) -> list[Coroutine[Any, Any, None]]:
        return [*super()._work(), self._watch()]

    async def _watch(self) -> None:
        """Do what there is to do on the open connection."""
        while True:
            await asyncio.sleep(LOOK_S)
            session = self._session
            if session is None or self._attempt is None or session.state is not State.ESTABLISHED:
                continue
            busy = session.unanswered > 0 or not session.reading or self._attempt.link.is_amid_packet
            seen = Seen(session.taken_in, session.remembered, busy)
            match self._departure.look(seen, asyncio.get_running_loop().time()):
                case Act.UNSUBSCRIBE:
                    session.unsubscribe()
                    self._flush()
                case Act.DISCONNECT:
                    self._disconnect()

    async def _is_asked(self) -> bool:
        blob: bytes | None = await self._answered(lambda: self._tools.store.command("HGET", keys.LEFT, self._id))
        if blob is None:  # whoever takes the lease next puts the session on the list again
            await self._answered(lambda: self._tools.store.command("SREM", keys.SESSIONS, self._id))
        return blob is not None and decode_left(blob).wish == self.assignment.wish

    async def _remove(self) -> None:
        """Raises LeaseLost."""
        now = self.assignment
        drained = await self._answered(lambda: self._tools.store.run(verbs.session_end(self._id, self.token)))
        if drained is not None:
            who = {"trigger": now.trigger.path, "session": self._id, "client_id": now.trigger.client_id}
            emit("session.ended", **who, drained=drained, reason=now.wish)

    async def _answered(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask Redis, however long it takes to answer. To be asked twice must do no harm."""
        failures = 0
        while True:
            try:
                return await ask()
            except StoreUnavailable as error:
                failures += 1
                self._tools.watch.failed(error)
                await asyncio.sleep(full_jitter(failures, RETRY_FIRST_S, RETRY_MAX_S, random.random))
