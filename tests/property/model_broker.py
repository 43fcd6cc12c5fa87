"""A broker for one client as plain data, with the habits of real ones to choose from, and a store as plain data."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from ingest.codec import (
    ConnAckPacket,
    ConnectPacket,
    Decoder,
    DisconnectPacket,
    Inbound,
    PingReqPacket,
    PingRespPacket,
    Protocol,
    PubAckPacket,
    PubCompPacket,
    PublishPacket,
    PubRecPacket,
    PubRelPacket,
    QoS,
    Role,
    SubAckPacket,
    SubAckReasonCode,
    SubscribePacket,
    UnsubAckPacket,
    UnsubscribePacket,
)
from ingest.session_events import Admit, BeginEpoch, RecordSubscriptions, SessionRecord, StoreRequest
from ingest.subscriptions import decode_subscriptions
from shared.envelope import Envelope, decode_envelope
from shared.topics import matches, parse_filter

LEVELS = (QoS.AT_MOST_ONCE, QoS.AT_LEAST_ONCE, QoS.EXACTLY_ONCE)
GRANTS = (
    SubAckReasonCode.GRANTED_QOS_AT_MOST_ONCE,
    SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE,
    SubAckReasonCode.GRANTED_QOS_EXACTLY_ONCE,
)


@dataclass(frozen=True)
class Habits:
    """What brokers do differently.

    `copies`: one PUBLISH per matching subscription, one for all, or one with the identifier of the first. `reuse`:
    packet identifiers are given out in turn, in flight or not. `republishes`: after PUBREL was sent, a reconnect brings
    the PUBLISH again too. `expires`: of every third message nothing is heard after PUBREC. `window` None: Receive
    Maximum is ignored.
    """

    protocol: Protocol = Protocol.V5
    copies: Literal["each", "merged", "single"] = "merged"
    says_dup: bool = True
    packet_ids: int = 5
    reuse: bool = False
    republishes: bool = False
    expires: bool = False
    window: int | None = 3
    releases_first: bool = True


@dataclass
class Message:
    """A message that a publisher handed over. `serial` travels as its expiry interval, which no digest covers."""

    serial: int
    topic: str
    payload: bytes
    qos: int


@dataclass
class Delivery:
    """A message on its way to the client, under one subscription or all that match."""

    message: Message
    qos: int
    identifiers: list[int]
    packet_id: int = 0
    released: bool = False
    sent: bool = False


@dataclass
class BrokerSession:
    """What the broker keeps for the client while it is away."""

    subscriptions: dict[str, tuple[int, int | None]] = field(default_factory=dict)
    queued: deque[Delivery] = field(default_factory=deque)
    inflight: list[Delivery] = field(default_factory=list)


class ModelBroker:
    """The broker's side: messages in, packets to the client out; bytes from the client are read as they come."""

    def __init__(self, habits: Habits) -> None:
        self.habits = habits
        self.session: BrokerSession | None = None
        self.to_client: deque[Inbound] = deque()
        self.burst = 0
        """So many packets of `to_client` were sent at once, before anything the client might answer."""
        self._decoder: Decoder | None = None
        self._next_id = 0
        self._lasting = False

    def accept(self) -> None:
        """The client has opened a connection."""
        self.disconnect()
        self._decoder = Decoder(self.habits.protocol, 1 << 20, Role.SERVER)

    def disconnect(self) -> None:
        """The connection is gone, with all that was under way on it."""
        self._decoder = None
        self.to_client.clear()
        self.burst = 0
        if self.session is not None and not self._lasting:
            self.session = None

    def lose_session(self) -> None:
        """The broker restarts without what it knew."""
        self.disconnect()
        self.session = None

    @property
    def connected(self) -> bool:
        """Whether there is a connection."""
        return self._decoder is not None

    def read(self, data: bytes) -> None:
        """Bytes from the client."""
        decoder = self._decoder
        assert decoder is not None
        for packet in decoder.feed(data):
            self._handle(packet)
        assert decoder.error is None, decoder.error

    def publish(self, message: Message) -> int | None:
        """Route a message. The QoS that it is owed to the client with; None: the client has no claim to it."""
        if self.session is None:
            return None
        found = [
            (min(message.qos, qos), identifier)
            for text, (qos, identifier) in self.session.subscriptions.items()
            if matches(parse_filter(text), message.topic)
        ]
        if not found:
            return None
        known = [identifier for _, identifier in found if identifier is not None]
        best = max(qos for qos, _ in found)
        if self.habits.copies == "each":
            deliveries = [
                Delivery(message, qos, [] if identifier is None else [identifier]) for qos, identifier in found
            ]
        elif self.habits.copies == "merged":
            deliveries = [Delivery(message, best, known)]
        else:
            best = found[0][0]
            deliveries = [Delivery(message, best, known[:1])]
        for delivery in deliveries:
            if delivery.qos or self.connected:
                self.session.queued.append(delivery)
        self._send_queued()
        return best if best or self.connected else None

    def _handle(self, packet: Inbound) -> None:
        session = self.session
        if isinstance(packet, ConnectPacket):
            self._connect(packet)
        elif isinstance(packet, DisconnectPacket):
            self.disconnect()
        elif session is None:
            raise AssertionError(packet)
        elif isinstance(packet, SubscribePacket):
            for each in packet.topic_filters:
                session.subscriptions[each.pattern] = (int(each.max_qos), packet.subscription_id)
            granted = [GRANTS[int(each.max_qos)] for each in packet.topic_filters]
            self.to_client.append(SubAckPacket(packet.packet_id, granted))
        elif isinstance(packet, UnsubscribePacket):
            for text in packet.patterns:
                session.subscriptions.pop(text, None)
            self.to_client.append(UnsubAckPacket(packet.packet_id, []))
        elif isinstance(packet, PingReqPacket):
            self.to_client.append(PingRespPacket())
        else:
            self._acknowledged(session, packet)

    def _acknowledged(self, session: BrokerSession, packet: Inbound) -> None:
        inflight = session.inflight
        match packet:
            case PubAckPacket(packet_id=packet_id):
                inflight.remove(next(each for each in inflight if each.packet_id == packet_id and each.qos == 1))
            case PubRecPacket(packet_id=packet_id):
                waiting = [each for each in inflight if each.packet_id == packet_id and each.qos == 2]
                exchange = next((each for each in waiting if not each.released), None)
                assert exchange is not None or self.habits.republishes
                if exchange is not None:
                    exchange.released = True
                    if self.habits.expires and exchange.message.serial % 3 == 0:
                        inflight.remove(exchange)
                        self._send_queued()
                        return
                self.to_client.append(PubRelPacket(packet_id))
            case PubCompPacket(packet_id=packet_id):
                exchange = next((each for each in inflight if each.packet_id == packet_id and each.released), None)
                assert exchange is not None or self.habits.republishes
                if exchange is not None:
                    inflight.remove(exchange)
        self._send_queued()

    def _connect(self, packet: ConnectPacket) -> None:
        if packet.clean_start:
            self.session = None
        present = self.session is not None
        self.session = session = self.session if self.session is not None else BrokerSession()
        v5 = self.habits.protocol is Protocol.V5
        self._lasting = packet.session_expiry_interval > 0 if v5 else not packet.clean_start
        self.to_client.append(ConnAckPacket(session_present=present))
        again = list(session.inflight)
        if self.habits.releases_first:
            again.sort(key=lambda each: not each.released)
        for each in again:
            if each.released:
                self.to_client.append(PubRelPacket(each.packet_id))
            if not each.released or self.habits.republishes:
                self._send(each)
        self.burst = len(self.to_client)
        self._send_queued()

    def _send_queued(self) -> None:
        session, window = self.session, self.habits.window
        while self.connected and session is not None and session.queued:
            delivery = session.queued[0]
            if delivery.qos:
                if window is not None and len(session.inflight) >= window:
                    return
                if (packet_id := self._packet_id(session)) is None:
                    return
                delivery.packet_id = packet_id
                session.inflight.append(delivery)
            session.queued.popleft()
            self._send(delivery)

    def _packet_id(self, session: BrokerSession) -> int | None:
        """In turn where identifiers are reused in flight (or long after), else the lowest that is free."""
        if self.habits.reuse or self.habits.republishes:
            self._next_id = self._next_id % self.habits.packet_ids + 1
            return self._next_id
        used = {each.packet_id for each in session.inflight}
        return next((each for each in range(1, self.habits.packet_ids + 1) if each not in used), None)

    def _send(self, delivery: Delivery) -> None:
        v5 = self.habits.protocol is Protocol.V5
        message = delivery.message
        self.to_client.append(
            PublishPacket(
                message.topic,
                message.payload,
                qos=LEVELS[delivery.qos],
                packet_id=delivery.packet_id or None,
                duplicate=delivery.sent and self.habits.says_dup,
                message_expiry_interval=message.serial if v5 else None,
                subscription_ids=delivery.identifiers if v5 else None,
            )
        )
        delivery.sent = delivery.qos > 0


class ModelStore:
    """What Redis keeps: requests are applied one at a time, each wholly."""

    def __init__(self) -> None:
        self.epoch = 0
        self.connection = 0
        self.protocol: Protocol | None = None
        self.subscriptions = ""
        self.inflight: dict[int, bytes] = {}
        self.admitted: list[Envelope] = []
        self.received = 0
        self.duplicate = 0

    def open(self) -> SessionRecord:
        """A connection begins."""
        self.connection += 1
        known = decode_subscriptions(self.subscriptions)
        return SessionRecord(self.epoch, self.connection, self.protocol, known, dict(self.inflight))

    def apply(self, request: StoreRequest) -> None:
        """Carry out a request."""
        match request:
            case BeginEpoch(protocol=protocol):
                self.epoch += 1
                self.protocol = protocol
                self.subscriptions = ""
                self.inflight.clear()
            case RecordSubscriptions(json=json):
                self.subscriptions = json
            case Admit(batch=batch):
                self.admitted += [decode_envelope(each) for each in batch.envelopes]
                self.received += batch.received
                self.duplicate += batch.duplicate
                for packet_id, packed in batch.packet_ids:
                    if packed:
                        self.inflight[packet_id] = packed
                    else:
                        self.inflight.pop(packet_id, None)

    def knows_copies(self, identifiers: set[int | None]) -> bool:
        """Whether it is on record that the broker sends a copy for each of these subscriptions."""
        known = decode_subscriptions(self.subscriptions)
        if known is None or not known.copies:
            return False
        recorded = [each for generation in known.generations for each in generation.filters]
        return identifiers <= {each.identifier for each in recorded if each.accepted}
