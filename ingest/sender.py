"""Publishes what waits in one broker's outbox, for as long as this process has the task."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

import msgspec

from ingest.assignment import hidden, resolved
from ingest.deployments import Deployments
from ingest.outgoing import allowed, given_up, is_passing, message_of, unreadable
from ingest.publisher import ConnectionLost, Publisher, Refused
from ingest.transport import broker_url
from shared import keys
from shared.backoff import full_jitter
from shared.config import Settings
from shared.definitions import Trigger
from shared.deployment import definition_command, read_definition
from shared.errors import EnvelopeError, HeadraceError, NewerEnvelope, PeerError, StoreUnavailable, UserError
from shared.events import emit
from shared.metrics.catalogue import SEND
from shared.metrics.instruments import NO_TRIGGER
from shared.outboxes import SenderReport, State, report_command
from shared.outgoing import Outgoing, decode_outgoing
from shared.scripts.outgoing import Settled, outbox_settle, read_outbox
from shared.secrets import SecretBox
from shared.store import AsyncStore

AT_ONCE = 64
AT_ONCE_BYTES = 4 << 20
READ_WAIT_MS = 1000
ACK_S = 30.0
PAUSE_S = 1.0
"""Before a message is published again that the broker has refused for the moment."""
SUSPECT, GUILTY = 3, 6
"""A message with which so many connections have ended is published alone, and then given up."""
_FIRST = b"0"
_V5 = b"5"


class _Underway(msgspec.Struct, frozen=True):
    """A message that is published; `confirmed` gives the broker's last word."""

    entry: bytes
    blob: bytes
    outgoing: Outgoing
    confirmed: asyncio.Future[int]


class Sender:
    """The outbox of the broker at this path, in order. A message leaves it when the broker has acknowledged it, or has
    refused it for good; so it is published twice where process or connection end in between.
    """

    def __init__(self, path: str, store: AsyncStore, deployments: Deployments, settings: Settings) -> None:
        self.path = path
        self._store = store
        self._deployments = deployments
        self._settings = settings
        self._triggers: dict[str, Trigger | None] = {}
        self._ended_with: Counter[bytes] = Counter()
        self._was_connected = False

    async def run(self) -> None:
        """Send for ever, through whatever happens to broker and Redis; ends by being cancelled."""
        failures = 0
        while True:
            self._was_connected = False
            try:
                await self._send()
            except HeadraceError as error:
                failures = 1 if self._was_connected else failures + 1
                limits = self._settings.ingest
                wait_s = full_jitter(failures, limits.reconnect_initial_s, limits.reconnect_max_s, random.random)
                emit("outbox.waiting", resource=self.path, error=error, attempt=failures, retry_in_s=round(wait_s, 2))
                await self._report("waiting", error.message)
                await asyncio.sleep(wait_s)

    async def _send(self) -> None:
        """Publish what is there and what comes, until something goes wrong."""
        while True:
            after = _FIRST
            await self._wait_for_first()
            found = self._deployments.broker(self.path)
            if found is None:
                await self._give_up_all()
                continue
            broker = resolved(*found, SecretBox.load(self._settings, create=False))
            client_id = await self._client_id()
            try:
                publisher = await Publisher.connect(broker, None, self._settings.ingest.connect_timeout_s, client_id)
            except PeerError as error:
                raise PeerError(hidden(error.message, found[0], broker), hint=error.hint) from error
            self._was_connected = True
            emit("outbox.connected", resource=self.path, broker=broker_url(found[0]), client_id=client_id)
            await self._report("connected")
            try:
                while self._deployments.broker(self.path) == found:
                    after = await self._publish_some(publisher, after)
            finally:
                await publisher.close()

    async def _report(self, state: State, reason: str = "") -> None:
        with suppress(StoreUnavailable):
            await self._store.command(*report_command(self.path, SenderReport(state, _now_ms(), reason)))

    async def _wait_for_first(self) -> None:
        while not await self._read(_FIRST, 1):
            pass

    async def _read(self, after: bytes, most: int) -> Sequence[tuple[bytes, bytes]]:
        """(entry, message) of what stands behind this one; waits a little for one. Raises StoreUnavailable."""
        key = keys.outbox(self.path)
        reply = await self._store.command("XREAD", "COUNT", 1, "BLOCK", READ_WAIT_MS, "STREAMS", key, after)
        if not reply or most == 1:
            return [(entry, fields[b"m"]) for entry, fields in reply[0][1]] if reply else ()
        return await self._store.run(read_outbox(self.path, after, most, AT_ONCE_BYTES))

    async def _publish_some(self, publisher: Publisher, after: bytes) -> bytes:
        """Publish some entries and settle them; the last one that was settled. Raises ConnectionLost."""
        at_once = 1 if any(count >= SUSPECT for count in self._ended_with.values()) else AT_ONCE
        entries = await self._read(after, at_once)
        if not entries:
            publisher.check()
            return after
        underway: list[_Underway] = []
        settled: list[Settled] = []
        for entry, blob in entries:
            each = await self._publish(publisher, entry, blob)
            if each is None:
                break
            if isinstance(each, Settled):
                settled.append(each)
            else:
                underway.append(each)
        if underway and (await asyncio.wait([each.confirmed for each in underway], timeout=ACK_S))[1]:
            publisher.abandon(f"the broker did not acknowledge within {ACK_S:g} s")
        settled += [done for each in underway if (done := self._judge(each)) is not None]
        await self._settle(settled)
        return await self._look_back(publisher, underway, entries[-1][0] if len(settled) == len(entries) else None)

    async def _look_back(self, publisher: Publisher, underway: list[_Underway], last: bytes | None) -> bytes:
        """Where to go on; `last` is the last of the entries if all were settled. Raises ConnectionLost."""
        if last is not None:
            self._ended_with.clear()
            return last
        if publisher.is_open:  # refused for the moment
            await asyncio.sleep(PAUSE_S)
            return _FIRST
        first = next((each for each in underway if _is_unanswered(each)), None)
        if first is not None:
            self._ended_with[first.entry] += 1
        if first is not None and len(underway) == 1 and self._ended_with[first.entry] >= GUILTY:
            del self._ended_with[first.entry]
            why = f"{GUILTY} connections in a row ended when it was published: {publisher.why}"
            letter = given_up(first.entry, first.outgoing, first.blob, why, _now_ms())
            await self._settle([self._given_up(letter, first.outgoing.topic, why)])
        raise ConnectionLost(f"the connection to {broker_url(publisher.broker)} ended: {publisher.why}")

    async def _publish(self, publisher: Publisher, entry: bytes, blob: bytes) -> _Underway | Settled | None:
        """Hand an entry to the broker; where that cannot be, the dead letter that it becomes. None: the connection has
        ended, or the broker reads no more, and the entry was not handed over.
        """
        try:
            outgoing = decode_outgoing(blob)
        except NewerEnvelope:
            raise
        except EnvelopeError as error:
            return self._given_up(unreadable(entry, blob, error.message, _now_ms()), "", error.message)
        cause = await self._cause(outgoing)
        try:
            marks_last = cause is None or await self._speaks_v5(cause)
            message = message_of(outgoing, cause, protocol=publisher.protocol, marks_last=marks_last)
            async with asyncio.timeout(ACK_S):
                confirmed = await publisher.publish(allowed(message, publisher.connack.result()))
        except ConnectionLost:
            return None
        except TimeoutError:
            publisher.abandon(f"the broker took nothing for {ACK_S:g} s")
            return None
        except UserError as error:
            letter = given_up(entry, outgoing, blob, error.message, _now_ms())
            return self._given_up(letter, outgoing.topic, error.message)
        return _Underway(entry, blob, outgoing, confirmed)

    def _judge(self, each: _Underway) -> Settled | None:
        """What a message came to; None: it stays in the outbox."""
        if _is_confirmed(each):
            waited_ms = _now_ms() - int(each.entry.partition(b"-")[0])
            SEND.of(each.outgoing.trigger or NO_TRIGGER).observe(waited_ms / 1000)
            return Settled(each.entry, each.outgoing.trigger)
        error = each.confirmed.exception() if each.confirmed.done() else None
        if not isinstance(error, Refused) or is_passing(error.fields.get("code")):
            return None
        letter = given_up(each.entry, each.outgoing, each.blob, error.message, _now_ms())
        return self._given_up(letter, each.outgoing.topic, error.message)

    def _given_up(self, letter: Settled, topic: str, reason: str) -> Settled:
        emit("message.unsent", resource=self.path, trigger=letter.trigger, topic=topic, reason=reason)
        return letter

    async def _give_up_all(self) -> None:
        """There is no such broker, unless this process has only not yet heard of it."""
        if await self._store.command("HEXISTS", keys.DEPLOYED, f"broker:{self.path}"):
            await asyncio.sleep(PAUSE_S)
            return
        why = f"the broker {self.path} is not deployed"
        for entry, blob in await self._read(_FIRST, AT_ONCE):
            try:
                outgoing = decode_outgoing(blob)
            except NewerEnvelope:
                raise
            except EnvelopeError as error:
                letter, topic = unreadable(entry, blob, error.message, _now_ms()), ""
            else:
                letter, topic = given_up(entry, outgoing, blob, why, _now_ms()), outgoing.topic
            await self._settle([self._given_up(letter, topic, why)])

    async def _settle(self, settled: Sequence[Settled]) -> None:
        if settled:
            dead_max = self._settings.retention.dead_max
            await self._store.run(outbox_settle(self.path, _now_ms(), dead_max, settled))

    async def _cause(self, outgoing: Outgoing) -> Trigger | None:
        version = outgoing.cause
        if version and version not in self._triggers:
            blob = await self._store.command(*definition_command(version))
            self._triggers[version] = read_definition(blob, Trigger)
        return self._triggers.get(version)

    async def _speaks_v5(self, trigger: Trigger) -> bool:
        return bool(await self._store.command("HGET", keys.session(trigger.session), "protocol") == _V5)

    async def _client_id(self) -> str:
        deployment = await self._store.command("HGET", keys.DEPLOYMENT, "id")
        return f"headrace-{(deployment or b'').decode()}-out-{self.path.replace('/', '-')}"


def _is_confirmed(each: _Underway) -> bool:
    return each.confirmed.done() and each.confirmed.exception() is None


def _is_unanswered(each: _Underway) -> bool:
    return not each.confirmed.done() or isinstance(each.confirmed.exception(), ConnectionLost)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
