"""Which sessions this process keeps: it follows the deployments, and what is asked of sessions that were left behind.

Several processes share the sessions by leases.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

from ingest.assignment import Assignment
from ingest.deployments import Deployments
from ingest.keeper import Keeper, Tools
from ingest.leaver import Leaver
from ingest.queue_watch import QueueWatches
from ingest.senders import Senders
from ingest.telling import Telling
from ingest.writer import RETRY_FIRST_S, RETRY_MAX_S
from shared.backoff import full_jitter
from shared.errors import LeaseLost, StoreUnavailable
from shared.events import emit
from shared.lease import Lease

POLL_S = 0.5
WATCH_S = 2.0
COOL_DOWN_S = 5.0
_RELEASE_S = 1.0


class Service:
    """All keepers of one process."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._deployments = Deployments(tools.store)
        self._senders = Senders(tools.store, self._deployments, tools.settings, tools.leases.process)
        self._watches = QueueWatches(tools.store, self._deployments, tools.settings, tools.leases.process)
        self._telling = Telling(tools.store, self._deployments)
        self._keepers: dict[str, Keeper] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._not_before: dict[str, float] = {}
        self._stopping = False

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop, then hand over what is under way, for at most the time that the settings allow."""
        following = asyncio.create_task(self._repeat(self._follow, lambda: POLL_S))
        holding = asyncio.create_task(self._repeat(self._hold, self._next_round_s))
        sending = asyncio.create_task(self._repeat(self._send, lambda: POLL_S))
        watching = asyncio.create_task(self._repeat(self._watch, self._next_look_s))
        stopping = asyncio.create_task(stop.wait())
        try:
            working = {following, holding, sending, watching, stopping}
            done, _ = await asyncio.wait(working, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()
            self._stopping = True
            following.cancel()
            await self._drain()
        finally:
            tasks = [following, holding, sending, watching, stopping, *self._tasks.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for step in (self._tools.leases.release_all, self._senders.stop, self._watches.stop):
            with suppress(StoreUnavailable, TimeoutError):
                async with asyncio.timeout(_RELEASE_S):
                    await step()

    def not_ready(self) -> list[str]:
        """Why this process cannot do its work at this moment. Any thread may ask."""
        watch, leases = self._tools.watch, self._tools.leases
        now, ttl_s = leases.clock(), leases.ttl_ms / 1000
        reasons = []
        if self._stopping:
            reasons.append("it is stopping")
        if watch.is_away:
            reasons.append("Redis cannot be reached")
        elif watch.answered_at is None or self._deployments.number < 0:
            reasons.append("what is deployed has not been read yet")
        elif now - watch.answered_at > ttl_s:
            reasons.append(f"Redis has not answered for {now - watch.answered_at:.0f} s")
        if lapsed := [session for session, lease in list(leases.held.items()) if now - lease.attempted_at > ttl_s]:
            reasons.append(f"leases have run out: {len(lapsed)} of {len(leases.held)} sessions")
        return reasons

    async def _repeat(self, step: Callable[[], Awaitable[None]], interval_s: Callable[[], float]) -> None:
        failures = 0
        while True:
            try:
                await step()
            except StoreUnavailable as error:
                failures += 1
                self._tools.watch.failed(error)
                await asyncio.sleep(full_jitter(failures, RETRY_FIRST_S, RETRY_MAX_S, random.random))
            else:
                failures = 0
                await asyncio.sleep(interval_s())

    async def _follow(self) -> None:
        """A new deployment: tell the keepers."""
        before = self._deployments.number
        changed = await self._deployments.refresh()
        self._tools.watch.answered()
        if not changed:
            return
        assignments = self._deployments.assignments
        for session, keeper in self._keepers.items():
            assignment = assignments.get(session)
            if assignment is not None and assignment.wish == keeper.assignment.wish:
                keeper.assign(assignment)
            else:
                keeper.stop("disabled")
        number = self._deployments.number
        if number and number != before:
            emit("deployment.seen", process="ingest", deployment=number, triggers=self._deployments.triggers)

    async def _send(self) -> None:
        """Keep the outboxes going, and tell of dead letters."""
        if self._deployments.number >= 0:
            while await self._telling.round():
                await self._senders.round()  # however many there are to tell of, the tasks stay ours
        await self._senders.round()

    async def _watch(self) -> None:
        """Listen to what brokers tell of themselves, where a session is connected."""
        await self._watches.round({each.assignment.broker.path for each in self._keepers.values() if each.is_stable})

    async def _hold(self) -> None:
        """Renew what we hold, then try for what nobody does."""
        leases = self._tools.leases
        for session in await leases.renew_due():
            self._keepers[session].lose()
        if self._stopping:
            return
        now = leases.clock()
        wanted = [each for each in self._deployments.assignments if self._not_before.get(each, 0.0) <= now]
        for session, lease in (await leases.take_some(wanted)).items():
            self._start(session, lease)

    def _next_look_s(self) -> float:
        """Often enough to keep the task of listening to a broker."""
        return min(WATCH_S, self._tools.leases.ttl_ms / 3000)

    def _next_round_s(self) -> float:
        return self._tools.leases.next_round_s(len(self._deployments.assignments))

    def _start(self, session: str, lease: Lease) -> None:
        assignment = self._deployments.assignments.get(session)
        if assignment is None:
            self._tools.leases.end(session, lease.token)
            return
        emit(
            "lease.acquired",
            trigger=assignment.trigger.path,
            session=session,
            token=lease.token,
            holder=self._tools.leases.holder(session),
        )
        keeper = self._keepers[session] = _keeper(assignment, lease, self._tools)
        self._tasks[session] = asyncio.create_task(self._keep(session, keeper))

    async def _keep(self, session: str, keeper: Keeper) -> None:
        """Run a keeper to its end. One that fails does not touch the others, and is tried again after a while."""
        leases = self._tools.leases
        try:
            await keeper.run()
            self._deployments.done(session, keeper.assignment)
        except LeaseLost as error:
            emit(
                "lease.lost",
                trigger=keeper.assignment.trigger.path,
                session=session,
                token=keeper.token,
                reason=error.message,
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, the other sessions go on
            self._not_before[session] = leases.clock() + COOL_DOWN_S
            text = f"the session of {keeper.assignment.trigger.path} failed and starts again"
            emit("library.error", logger="ingest", text=text, error=error)
        finally:
            leases.end(session, keeper.token)
            del self._keepers[session], self._tasks[session]

    async def _drain(self) -> None:
        for keeper in self._keepers.values():
            keeper.stop("stopped")
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=self._tools.settings.ingest.drain_timeout_s)


def _keeper(assignment: Assignment, lease: Lease, tools: Tools) -> Keeper:
    if assignment.wish is None:
        return Keeper(assignment, lease, tools)
    return Leaver(assignment, assignment.wish, lease, tools)
