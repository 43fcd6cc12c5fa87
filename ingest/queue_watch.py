"""Listens to what brokers tell of their queues under $SYS, on connections of their own: no session is disturbed.

A trigger's own session must not ask: some brokers end a connection that asks for what it may not (AWS IoT), and what
comes would stand in the way of messages. Each broker has one listener among all ingest processes. It is a guest: its
client id is its own, its session clean, everything at QoS 0. It knocks only where a session is connected already, so
that no broker is asked with credentials that it has refused, and stays away for long where it is not let in.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress

import msgspec

from ingest.assignment import hidden, resolved
from ingest.codec import Protocol, PublishPacket
from ingest.deployments import Deployments
from ingest.guest import Ended, Guest, GuestConfig, NotLetIn
from ingest.roles import Roles
from ingest.transport import BrokerRejected, UnusableCertificate
from shared import keys
from shared.backoff import full_jitter, steady
from shared.broker_queues import SYS, QueueReport, Told, decode_report, noted, part_of, report_command, troubled
from shared.config import Settings
from shared.definitions import Broker
from shared.errors import HeadraceError, PeerError, StoreUnavailable
from shared.events import emit
from shared.secrets import SecretBox
from shared.store import AsyncStore

REFUSED = 0x80
_MAX_PAYLOAD = 4096
_PROTOCOLS = [Protocol.V5, Protocol.V311]


class Pace(msgspec.Struct, frozen=True):
    """Times in seconds: between two looks at the deployment, for what comes `together`, until a broker counts as
    `silent` (EMQX tells each minute), and before one is asked again that has refused.
    """

    look_s: float = 2.0
    together_s: float = 0.5
    silent_s: float = 150.0
    refused_min_s: float = 600.0
    refused_max_s: float = 1800.0


class NotToBeRead(PeerError):
    """The broker does not let us read what it tells of itself."""


class QueueWatches:
    """The listeners of one process. `round` is to be called several times within the lease time."""

    def __init__(self, store: AsyncStore, deployments: Deployments, settings: Settings, process: str) -> None:
        self._deployments = deployments
        self._is_on = settings.ingest.watch_brokers
        self._roles = Roles(
            store, process, settings.ingest.lease_ttl_ms, keys.watching,
            lambda path: QueueWatch(path, store, deployments, settings).run(),
        )  # fmt: skip

    async def round(self, connected: Iterable[str]) -> None:
        """Listen where nobody does, to brokers where a session of this process is `connected` or that it listens to
        already, as long as triggers need them. Raises StoreUnavailable.
        """
        if not self._is_on:
            return
        needed = {each.broker.path for each in self._deployments.assignments.values()}
        await self._roles.round(needed & {*connected, *self._roles.ours})

    async def stop(self) -> None:
        """Leave them all. Raises StoreUnavailable."""
        await self._roles.stop()


class QueueWatch:
    """Listens to the broker at this path, and stores a report whenever there is something new."""

    def __init__(
        self, path: str, store: AsyncStore, deployments: Deployments, settings: Settings, pace: Pace | None = None
    ) -> None:
        self._path = path
        self._store = store
        self._deployments = deployments
        self._settings = settings
        self._pace = pace or Pace()
        self._report: QueueReport | None = None
        self._failures = 0

    async def run(self) -> None:
        """Listen for ever, through whatever happens to broker and Redis; ends by being cancelled."""
        self._report = await self._last_report()
        while True:
            wait_s = self._settings.ingest.reconnect_initial_s
            try:
                await self._listen()
            except StoreUnavailable:
                wait_s = self._settings.ingest.reconnect_max_s * random.random()
            except (NotLetIn, NotToBeRead, BrokerRejected, UnusableCertificate) as error:
                wait_s = steady(self._pace.refused_min_s, self._pace.refused_max_s, random.random)
                await self._troubled("refused", error)
            except HeadraceError as error:
                self._failures += 1
                limits = self._settings.ingest
                wait_s = full_jitter(self._failures, limits.reconnect_initial_s, limits.reconnect_max_s, random.random)
                await self._troubled("away", error)
            await asyncio.sleep(wait_s)

    async def _listen(self) -> None:
        """One connection, until it ends or the broker is deployed anew. Raises HeadraceError."""
        found = self._deployments.broker(self._path)
        if found is None:
            return
        broker = resolved(*found, SecretBox.load(self._settings, create=False))
        try:
            guest = await self._guest(broker)
            try:
                await self._subscribe(guest)
                self._failures = 0
                await self._follow(guest, found)
            finally:
                await guest.close()
        except PeerError as error:
            error.message = hidden(error.message, found[0], broker)
            raise

    async def _guest(self, broker: Broker) -> Guest:
        limits = self._settings.ingest
        client_id = f"headrace-watch-{secrets.token_hex(4)}"
        config = GuestConfig(client_id, limits.keep_alive_s, 10, _MAX_PAYLOAD, limits.connect_timeout_s)
        return await Guest.connect(broker, _PROTOCOLS, config)

    async def _subscribe(self, guest: Guest) -> None:
        try:
            codes = [await guest.subscribe(topic, 0) for topic in SYS]
        except Ended as error:
            raise NotToBeRead(f"it ended the connection when it was asked for $SYS: {error.message}") from error
        if all(code >= REFUSED for code in codes):
            raise NotToBeRead(f"it does not let us read $SYS (0x{codes[0]:02x})")

    async def _follow(self, guest: Guest, found: object) -> None:
        """Note what comes. Raises Ended, StoreUnavailable."""
        said: dict[str, bytes] = {}
        silent_from = time.monotonic() + self._pace.silent_s
        while self._deployments.broker(self._path) == found:
            for message in await self._next(guest):
                if isinstance(message, PublishPacket) and part_of(message.topic) is not None:
                    said[message.topic] = message.payload
            if not guest.is_open:
                raise Ended(f"the connection ended: {guest.why}")
            report = noted(self._report, said, _now_ms())
            if report.state == "told" or time.monotonic() >= silent_from:
                await self._tell(report)

    async def _next(self, guest: Guest) -> Sequence[object]:
        """What comes together; nothing where nothing comes for a while."""
        try:
            async with asyncio.timeout(self._pace.look_s):
                first = await guest.next_message()
        except TimeoutError:
            return ()
        await asyncio.sleep(self._pace.together_s)
        return [first, *guest.take()]

    async def _tell(self, report: QueueReport) -> None:
        before = self._report
        if report == before:
            return
        await self._store.command(*report_command(self._path, report))
        self._report = report
        if report.dropped_at is not None and (before is None or report.dropped_at != before.dropped_at):
            emit("broker.dropped", resource=self._path, dropped=report.lately, total=report.dropped)

    async def _troubled(self, state: Told, error: HeadraceError) -> None:
        with suppress(StoreUnavailable):
            await self._tell(troubled(self._report, state, error.message, _now_ms()))

    async def _last_report(self) -> QueueReport | None:
        """What was known before, of this process or another."""
        with suppress(StoreUnavailable):
            return decode_report(await self._store.command("HGET", keys.BROKER_REPORTS, self._path))
        return None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
