"""Keeps the MQTT session of one trigger connected, for one term of its lease."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import msgspec

from ingest.approach import Approach
from ingest.assignment import Assignment
from ingest.codec import Protocol
from ingest.handshake import ConnectStep
from ingest.leases import Leases
from ingest.link import Link
from ingest.moving import found_at
from ingest.pressure import Limits
from ingest.reconnect import STABLE_S, Ending, delay_s, ending_of
from ingest.reporter import Reporter
from ingest.session import Session
from ingest.session_events import (
    BeginEpoch,
    Connected,
    Malformed,
    OversizedDropped,
    ProtocolRefused,
    Purged,
    Refused,
    SessionConfig,
    SessionEvent,
    SessionRecord,
    StoreRequest,
    SubscriptionRefused,
    SubscriptionsGranted,
)
from ingest.store_watch import StoreWatch
from ingest.transport import BrokerRejected, Unreachable, UnusableCertificate, open_transport
from ingest.writer import RETRY_FIRST_S, RETRY_MAX_S, StoreWriter
from shared.backoff import full_jitter, steady
from shared.config import Settings
from shared.definitions import Broker
from shared.errors import LeaseLost, SecretError, StoreUnavailable, UnknownReference
from shared.lease import Lease
from shared.scripts import ingest as verbs
from shared.secrets import SecretBox
from shared.store import AsyncStore

Stop = Literal["stopped", "disabled", "ended"]
T = TypeVar("T")


class Tools(msgspec.Struct, frozen=True):
    """What the keepers of a process share."""

    store: AsyncStore
    watch: StoreWatch
    leases: Leases
    settings: Settings


@dataclass(slots=True)
class _Attempt:
    """One try to be connected. `record` and `step` are known once CONNECT is sent."""

    link: Link
    record: SessionRecord | None = None
    step: ConnectStep | None = None
    answered: bool = False
    connected_at: float | None = None
    ending: Ending | None = None

    @property
    def was_stable(self) -> bool:
        return self.connected_at is not None and time.monotonic() - self.connected_at >= STABLE_S


class Keeper:
    """One term: `run` it, tell it of deployments with `assign`, end it with `stop` or `lose`.

    A connection begins only when everything that the one before asked of Redis is answered, so that what Redis tells of
    the session is all there is; and only right after a renewal of the lease.
    """

    def __init__(self, assignment: Assignment, lease: Lease, tools: Tools, approach: Approach | None = None) -> None:
        self.assignment = assignment
        self.token = lease.token
        self._id = assignment.trigger.session
        self._tools = tools
        self._writer = StoreWriter(tools.store, tools.watch, self._id, lease.token, self._stored, tools.settings)
        self._reporter = Reporter(self._writer)
        self._approach = approach or Approach()
        self._session: Session | None = None
        self._attempt: _Attempt | None = None
        self._stop: Stop | None = None
        self._connected_as: tuple[object, ...] = ()
        self._asking_again: asyncio.TimerHandle | None = None
        self._poke = asyncio.Event()
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def is_stable(self) -> bool:
        """Whether it is connected, and has been for a while."""
        return self._attempt is not None and self._attempt.was_stable

    async def run(self) -> None:
        """Keep the session connected until `stop` is carried out.

        Raises LeaseLost when the term is over: the connection is then closed without a word and nothing was written
        after. Cancelled, it closes the connection in the same way.
        """
        tasks = {asyncio.create_task(each) for each in self._work()}
        try:
            done, _ = await asyncio.wait({*tasks, self._lost}, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()
        finally:
            if self._session is not None:
                self._session.fenced()
            if self._attempt is not None:
                self._attempt.link.abort()
            for task in tasks:
                task.cancel()
            self._lost.cancel()
            if self._asking_again is not None:
                self._asking_again.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def assign(self, assignment: Assignment) -> None:
        """Deployed again: change subscriptions on the open connection where that is enough, else connect anew."""
        again = assignment.connection != self.assignment.connection
        changed = assignment.version != self.assignment.version
        self.assignment = assignment
        if self._session is not None and changed and not again:
            self._session.change_subscriptions(assignment.trigger, assignment.version)
            self._flush()
        if again:
            self._disconnect()

    def stop(self, state: Stop) -> None:
        """Hand over what was received, say DISCONNECT (the broker keeps the session), and let `run` return."""
        if self._stop is None:
            self._stop = state
            self._reporter.draining()
            self._disconnect()

    def lose(self) -> None:
        """The lease is somebody else's."""
        if not self._lost.done():
            self._lost.set_exception(LeaseLost(f"another ingest holds session {self._id}", session=self._id))

    def _work(self) -> list[Coroutine[Any, Any, None]]:
        """What goes on during the term; when one of them ends, so does the term."""
        return [self._writer.run(), self._live()]

    async def _live(self) -> None:
        failures = 0
        while self._stop is None:
            if self._poke.is_set():
                self._poke.clear()
                failures = 0
            try:
                attempt = await self._connect()
            except (SecretError, UnknownReference) as error:
                failures += 1
                await self._wait(Ending("refused", error.message), failures)
                continue
            if self._poke.is_set():
                continue
            ending = attempt.ending or Ending("reconnecting", "the connection ended")
            if ending.state == "next step":
                continue
            await self._writer.idle()
            await self._confirm()
            self._look_back(attempt)
            self._approach.start_over()
            failures = 1 if attempt.was_stable else failures + 1
            await self._wait(ending, failures)
        await self._writer.idle()
        self._reporter.ended(self._stop)
        await self._writer.idle()

    async def _wait(self, ending: Ending, failures: int) -> None:
        """Say why, and stay away until it is time to try again."""
        wait_s = delay_s(ending, failures, self._tools.settings.ingest, random.random)
        self._reporter.failed(ending, failures, wait_s)
        await self._unless_poked(asyncio.sleep(wait_s))

    def _look_back(self, attempt: _Attempt) -> None:
        """Where nobody answered CONNECT, it may have been the protocol version."""
        trigger = self.assignment.trigger
        if attempt.step and attempt.record and not attempt.answered:
            other = self._approach.unanswered(trigger, attempt.record)
            if other and attempt.step.protocol is Protocol.V5:
                self._reporter.fallback()

    async def _connect(self) -> _Attempt:
        """One connection from its beginning to its end. Raises SecretError, UnknownReference before it begins."""
        await self._writer.idle()
        await self._confirm()
        now = self.assignment
        if self._connected_as != now.connection:
            self._writer.trigger, self._writer.broker = now.trigger.path, now.broker_version
            self._reporter.about(now.trigger, now.broker)
        broker = now.resolved_broker(SecretBox.load(self._tools.settings, create=False))
        session = self._prepared_session(now, broker)
        settings = self._tools.settings.ingest
        limits = Limits(settings.max_buffered_bytes, settings.max_inbox)
        attempt = self._attempt = _Attempt(Link(session, self._writer, limits, self._happened))
        self._reporter.connecting()
        try:
            opening = open_transport(broker, attempt.link, settings.connect_timeout_s)
            if await self._unless_poked(opening) and await self._open_session(attempt):
                await attempt.link.closed
        except Unreachable as error:
            attempt.ending = Ending("reconnecting", now.hidden(error.message, broker))
        except (BrokerRejected, UnusableCertificate) as error:
            attempt.ending = Ending("refused", now.hidden(error.message, broker))
        except StoreUnavailable as error:
            self._tools.watch.failed(error)
            attempt.ending = Ending("reconnecting", "Redis was not available while connecting")
        finally:
            attempt.link.abort()
            self._attempt = None
        return attempt

    def _prepared_session(self, now: Assignment, broker: Broker) -> Session:
        """The session, made anew where the connection is to be another one. `broker` is that of `now`, resolved."""
        if self._session is None or self._connected_as != now.connection:
            self._connected_as = now.connection
            settings, leaving = self._tools.settings.ingest, now.wish is not None
            self._session = Session(SessionConfig.of(now.trigger, now.version, broker, settings, leaving=leaving))
        return self._session

    async def _open_session(self, attempt: _Attempt) -> bool:
        """Renew the lease, read the session back, send CONNECT. False: that took too long, or we are to stop."""
        leases, now, trigger = self._tools.leases, self.assignment, self.assignment.trigger
        began = leases.clock()
        renewed, opened = await self._tools.store.run_many(
            [
                leases.renewal(self._id, self.token),
                verbs.session_open(self._id, self.token, trigger.path, trigger.client_id, now.deployment),
            ]
        )
        lease = leases.confirm(self._id, self.token, began) if renewed else None
        if lease is None:
            raise LeaseLost(f"another ingest holds session {self._id}", session=self._id)
        record = await found_at(self._tools.store, SessionRecord.of(opened), opened, now)
        if self._poke.is_set() or not lease.may_connect(leases.clock()):
            return False
        attempt.record = record
        attempt.step = self._approach.next_step(trigger, attempt.record)
        max_payload = trigger.max_payload or self._tools.settings.ingest.max_payload
        attempt.link.begin(attempt.record, attempt.step, max_payload)
        return True

    async def _confirm(self) -> None:
        """Learn that the lease is ours, however long Redis takes to say so."""
        leases, failures = self._tools.leases, 0
        while True:
            began = leases.clock()
            try:
                renewed = await self._tools.store.run(leases.renewal(self._id, self.token))
            except StoreUnavailable as error:
                failures += 1
                self._tools.watch.failed(error)
                await asyncio.sleep(full_jitter(failures, RETRY_FIRST_S, RETRY_MAX_S, random.random))
            else:
                self._tools.watch.answered()
                if not renewed or leases.confirm(self._id, self.token, began) is None:
                    raise LeaseLost(f"another ingest holds session {self._id}", session=self._id)
                return

    async def _unless_poked(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Its result, or None if we were told something new before it was done."""
        task, poke = asyncio.create_task(work), asyncio.create_task(self._poke.wait())
        try:
            await asyncio.wait({task, poke}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            task.cancel()
            poke.cancel()

    def _disconnect(self) -> None:
        """End the connection in good order, and whatever waits for the next one."""
        self._poke.set()
        if self._session is not None:
            self._session.disconnect()
            self._flush()

    def _flush(self) -> None:
        if self._attempt is not None:
            self._attempt.link.flush()

    def _stored(self, answers: Sequence[tuple[StoreRequest, int]]) -> None:
        """The writer has these answers."""
        if self._session is None:
            return
        for request, value in answers:
            self._session.stored()
            attempt = self._attempt
            if isinstance(request, BeginEpoch) and attempt and attempt.record and attempt.step:
                self._reporter.epoch_started(value, attempt.record, attempt.step)
        self._flush()

    def _happened(self, event: SessionEvent) -> None:
        """The session has something to tell."""
        attempt = self._attempt
        if attempt is None or attempt.record is None or attempt.step is None:
            return
        self._approach.happened(event)
        if self._approach.over:
            self._stop = self._stop or "ended"
        attempt.answered = attempt.answered or isinstance(event, Connected | Purged | Refused | ProtocolRefused)
        falls_back = self.assignment.trigger.client_version is None
        attempt.ending = attempt.ending or ending_of(event, falls_back=falls_back)
        match event:
            case Connected():
                attempt.connected_at = time.monotonic()
                self._reporter.connected(event, attempt.step, attempt.record.epoch)
            case SubscriptionsGranted():
                self._reporter.subscribed(event, self.assignment.version)
            case SubscriptionRefused():
                self._ask_again_later(event)
            case ProtocolRefused() if falls_back:
                self._reporter.fallback()
            case Malformed():
                self._reporter.malformed(event)
            case OversizedDropped():
                limit = self.assignment.trigger.max_payload or self._tools.settings.ingest.max_payload
                self._reporter.oversized(event, limit)

    def _ask_again_later(self, event: SubscriptionRefused) -> None:
        """An access list may be mended without our hearing of it."""
        settings = self._tools.settings.ingest
        wait_s = steady(settings.refused_min_s, settings.refused_max_s, random.random)
        self._reporter.subscription_refused(event, wait_s)
        if self._asking_again is not None:
            self._asking_again.cancel()
        self._asking_again = asyncio.get_running_loop().call_later(wait_s, self._ask_again)

    def _ask_again(self) -> None:
        if self._session is not None:
            self._session.change_subscriptions(self.assignment.trigger, self.assignment.version)
            self._flush()
