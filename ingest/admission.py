"""From PUBLISH to inbox: what each received message comes to, gathered into batches for the store.

Every message ends in exactly one cell: admitted, duplicate, oversized, retained_skipped, or own: what a run of this
trigger has published itself. (`invalid` stays 0: what is framed properly and breaks the rules all the same ends the
connection before it gets here.) Nothing is acknowledged from here: a batch carries the acknowledgements that may be
written once the store has answered.

This is the hot path. What a topic means to the trigger is found once and kept; a message then costs a look-up, an
envelope, and an entry from a table of ready acknowledgements.
"""

from __future__ import annotations

from ingest.codec import PUBACKS, PUBCOMPS, PUBRECS, OversizedPublish, Protocol, PublishPacket, QoS, publish_digest
from ingest.inflight import Inflight
from ingest.overlap import Copies, Verdict
from ingest.receipts import Receipt, receive
from ingest.routes import Route, Routes
from ingest.subscriptions import Subscriptions, generation_of
from shared.dead import LETTER_VERSION, DeadLetter, encode_letter
from shared.definitions import Trigger
from shared.envelope import ENVELOPE_VERSION, Envelope, Properties, encode_envelope
from shared.envelope import QoS as Level
from shared.outgoing import CAUSE
from shared.scripts.ingest import Admission
from shared.tracing import spans

BATCH_MESSAGES = 256
BATCH_BYTES = 4 << 20
"""A batch is closed beyond either, so that no single step keeps Redis busy for long, and the acknowledgements of those
stored first do not wait for the rest of a large read."""

_TWO = QoS.EXACTLY_ONCE


class Batch:
    """What one atomic step of the store will hold, and what may be written to the broker when it has answered."""

    __slots__ = ("acks", "bytes", "dead_letters", "duplicate", "envelopes", "own", "packet_ids", "receipts", "skipped")

    def __init__(self) -> None:
        self.envelopes: list[bytes] = []
        self.acks: list[bytes] = []
        self.dead_letters: list[bytes] = []
        self.packet_ids: list[tuple[int, bytes]] = []
        self.receipts: list[Receipt] = []
        self.duplicate = 0
        self.skipped = 0
        self.own = 0
        self.bytes = 0

    @property
    def received(self) -> int:
        """Messages in it, whatever became of them."""
        return len(self.envelopes) + len(self.dead_letters) + self.duplicate + self.skipped + self.own

    def admission(self) -> Admission | None:
        """The batch as the store takes it, None where it has nothing to store."""
        if not self.received and not self.packet_ids:
            return None
        return Admission(
            received=self.received,
            duplicate=self.duplicate,
            oversized=len(self.dead_letters),
            retained_skipped=self.skipped,
            own=self.own,
            packet_ids=self.packet_ids,
            dead_letters=self.dead_letters,
            envelopes=self.envelopes,
        )


class Intake:
    """The messages of one connection on their way into batches."""

    def __init__(self, protocol: Protocol, inflight: Inflight, trigger: Trigger, version: str) -> None:
        self.copies: Copies[tuple[PublishPacket, str]] = Copies(known=False)
        self._level = int(protocol)
        self._has_properties = protocol is Protocol.V5
        self._traced = spans.is_on()
        self._inflight = inflight
        self._full: list[Batch] = []
        self._batch = Batch()
        self._undecided: list[tuple[PublishPacket, str]] = []
        self._now_ms = 0
        self.use(trigger, version, None)

    def use(self, trigger: Trigger, version: str, subscriptions: Subscriptions | None) -> None:
        """From here on envelopes carry this version of the trigger and count under these subscriptions."""
        self._path = trigger.path
        self._mark = (CAUSE, trigger.session)
        self._version = version
        self._subscribed = trigger, subscriptions
        self._routes: Routes | None = None  # worked out when a message comes: SUBACKs often come many at a time
        if subscriptions is not None and subscriptions.copies:
            self.copies.known = True
        undecided, self._undecided = self._undecided, []
        for packet, topic in undecided:
            self.publish(packet, topic, self._now_ms)

    @property
    def buffered_bytes(self) -> int:
        """Bytes of what is gathered and not taken."""
        return self._batch.bytes + sum(each.bytes for each in self._full)

    def publish(self, packet: PublishPacket, topic: str, now_ms: int) -> None:
        """A message came. `topic` is the full one, whatever alias the packet has."""
        if self._has_properties and self._mark in packet.user_properties:
            self._settle(packet, topic, now_ms, [], Verdict.OWN)
            return
        route = (self._routes or self._find_routes()).of(topic)
        if route.plain and not packet.retain:
            if packet.qos is _TWO:
                self._settle(packet, topic, now_ms, route.filters)
            elif (packet_id := packet.packet_id) is None:
                self._admit(packet, topic, now_ms, route.filters, 0)
            else:
                self._batch.acks.append(PUBACKS[packet_id])
                self._admit(packet, topic, now_ms, route.filters, 1)
            return
        self._now_ms = now_ms
        verdict = self._judge(packet, topic, route, now_ms)
        if verdict is not Verdict.HELD:
            filters = route.delivered(packet.subscription_ids, retained=packet.retain)
            self._settle(packet, topic, now_ms, filters, verdict)
        if self.copies.settled:
            for held, its_topic in self.copies.settled:
                self._settle(held, its_topic, now_ms, [], Verdict.DUPLICATE)
            self.copies.settled.clear()

    def oversized(self, publish: OversizedPublish, topic: str, now_ms: int) -> None:
        """A message over the limit came: it becomes a dead letter, and is acknowledged like any other."""
        level = self._acknowledge(publish, topic)
        if level is None:
            return
        if self._has_properties and self._mark in publish.properties.user_properties:
            self._batch.own += 1
            return
        letter = DeadLetter(
            LETTER_VERSION,
            "oversized",
            self._path,
            topic,
            level,
            publish.head,
            publish.size,
            publish.digest.hex(),
            self._properties(publish.properties),
            now_ms,
            f"a payload of {publish.size} bytes is over the limit",
        )
        self._batch.dead_letters.append(encode_letter(letter))
        self._weigh(len(publish.head))

    def release(self, packet_id: int) -> None:
        """PUBREL came. PUBCOMP answers it, known or not, in its place behind what came before."""
        self._inflight.release(packet_id)
        self._batch.acks.append(PUBCOMPS[packet_id])

    def tick(self, now_ms: int, *, reading: bool) -> None:
        """Admit what has waited for another copy of itself in vain."""
        self._now_ms = now_ms
        if not reading:
            self.copies.postpone(now_ms)
        for packet, topic in self.copies.overdue(now_ms):
            filters = self._find_routes().of(topic).delivered(packet.subscription_ids, retained=False)
            self._settle(packet, topic, now_ms, filters)

    def take(self) -> list[Batch]:
        """What has come since the last time, in order."""
        self._close()
        batches, self._full = self._full, []
        return batches

    def _find_routes(self) -> Routes:
        if self._routes is None:
            self._routes = Routes(*self._subscribed)
        return self._routes

    def _judge(self, packet: PublishPacket, topic: str, route: Route, now_ms: int) -> Verdict:
        identifiers = packet.subscription_ids
        if packet.retain:
            return self._judge_retained(identifiers, route)
        if not identifiers or not (route.absorbed or route.undecided):
            return Verdict.COUNTS
        absorbed = route.absorbed.issuperset(identifiers)
        if not absorbed and (route.absorbed | route.undecided).issuperset(identifiers):
            self._undecided.append((packet, topic))
            return Verdict.HELD
        if self.copies.known and (absorbed or not self.copies.ahead):
            return Verdict.DUPLICATE if absorbed else Verdict.COUNTS
        return self._compare(packet, topic, route, now_ms, absorbed=absorbed)

    def _compare(self, packet: PublishPacket, topic: str, route: Route, now_ms: int, *, absorbed: bool) -> Verdict:
        """What the other copies, seen or awaited, make of this one."""
        first, *more = packet.subscription_ids
        if not absorbed and (more or first not in route.counting):
            return Verdict.COUNTS
        key = (generation_of(first), publish_digest(packet, topic))
        if absorbed:
            return self.copies.absorbed(key, (packet, topic), now_ms)
        return self.copies.counting(key)

    def _judge_retained(self, identifiers: list[int], route: Route) -> Verdict:
        if not identifiers:
            return Verdict.SKIPPED if route.filters and not route.retained else Verdict.COUNTS
        if self._find_routes().skipped.issuperset(identifiers):
            return Verdict.SKIPPED
        return Verdict.DUPLICATE if route.absorbed_retained.issuperset(identifiers) else Verdict.COUNTS

    def _settle(
        self,
        packet: PublishPacket,
        topic: str,
        now_ms: int,
        filters: list[int],
        verdict: Verdict = Verdict.COUNTS,
    ) -> None:
        level = self._acknowledge(packet, topic)
        if level is None:
            return
        if verdict is not Verdict.COUNTS:
            self._batch.duplicate += verdict is Verdict.DUPLICATE
            self._batch.skipped += verdict is Verdict.SKIPPED
            self._batch.own += verdict is Verdict.OWN
            return
        self._admit(packet, topic, now_ms, filters, level)

    def _admit(self, packet: PublishPacket, topic: str, now_ms: int, filters: list[int], level: Level) -> None:
        trace = None
        if self._traced:
            receipt = receive(packet, topic, level, now_ms)
            self._batch.receipts.append(receipt)
            trace = receipt.context.packed()
        envelope = encode_envelope(
            Envelope(
                ENVELOPE_VERSION,
                self._path,
                self._version,
                topic,
                packet.payload,
                level,
                packet.retain,
                packet.duplicate,
                packet.packet_id or 0,
                now_ms,
                self._level,
                filters,
                self._properties(packet),
                trace,
            )
        )
        self._batch.envelopes.append(envelope)
        self._weigh(len(envelope))

    def _acknowledge(self, publish: PublishPacket | OversizedPublish, topic: str) -> Level | None:
        """The delivery's QoS; None: it was stored on an earlier connection and is counted as a duplicate."""
        packet_id = publish.packet_id
        if packet_id is None:
            return 0
        if publish.qos is not _TWO:
            self._batch.acks.append(PUBACKS[packet_id])
            return 1
        self._batch.acks.append(PUBRECS[packet_id])
        if self._inflight.publish(packet_id, publish_digest(publish, topic)):
            return 2
        self._batch.duplicate += 1
        return None

    def _properties(self, packet: PublishPacket) -> Properties | None:
        if not self._has_properties:
            return None
        return Properties(
            packet.payload_format_indicator or None,
            packet.message_expiry_interval,
            packet.content_type,
            packet.response_topic,
            packet.correlation_data,
            packet.subscription_ids,
            packet.topic_alias,
            packet.user_properties,
        )

    def _weigh(self, size: int) -> None:
        batch = self._batch
        batch.bytes += size
        if batch.bytes >= BATCH_BYTES or len(batch.envelopes) >= BATCH_MESSAGES:
            self._close()

    def _close(self) -> None:
        batch = self._batch
        batch.packet_ids = self._inflight.take_changes()
        if batch.acks or batch.received:
            self._full.append(batch)
            self._batch = Batch()
