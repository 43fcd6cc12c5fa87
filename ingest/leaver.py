"""Drains or ends a session that was left behind, for one term of its lease; then forgets it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

from ingest.assignment import Assignment
from ingest.departure import Act, Departure, Seen
from ingest.keeper import Keeper, Tools
from ingest.session_states import State
from ingest.writer import RETRY_FIRST_S, RETRY_MAX_S
from shared.backoff import full_jitter
from shared.errors import StoreUnavailable
from shared.events import emit
from shared.lease import Lease
from shared.left import Wish
from shared.scripts import ingest as verbs

LOOK_S = 0.25


class Leaver(Keeper):
    """A keeper of a session that no trigger has. It goes on until the broker has ended the session, then removes what
    Redis knows of it. The order makes it safe to be killed at any moment: until it is removed, all is done again.
    """

    def __init__(self, assignment: Assignment, wish: Wish, lease: Lease, tools: Tools) -> None:
        self._departure = Departure(wish)
        super().__init__(assignment, lease, tools, self._departure)

    async def run(self) -> None:
        """As for any keeper; and what is over is removed."""
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

    async def _remove(self) -> None:
        """Raises LeaseLost."""
        now, failures = self.assignment, 0
        while True:
            try:
                drained = await self._tools.store.run(verbs.session_end(self._id, self.token))
            except StoreUnavailable as error:
                failures += 1
                self._tools.watch.failed(error)
                await asyncio.sleep(full_jitter(failures, RETRY_FIRST_S, RETRY_MAX_S, random.random))
            else:
                break
        if drained is not None:
            who = {"trigger": now.trigger.path, "session": self._id, "client_id": now.trigger.client_id}
            emit("session.ended", **who, drained=drained, reason=now.wish)
