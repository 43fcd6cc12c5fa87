"""A session with everything around it played by the test: packets in, packets out, requests answered by hand."""

from __future__ import annotations

from typing import Any, TypeVar

from ingest.codec import (
    ConnAckPacket,
    Decoder,
    Inbound,
    Packet,
    Protocol,
    PublishPacket,
    QoS,
    Role,
    SubAckPacket,
    SubAckReasonCode,
    SubscribePacket,
    UnsubAckPacket,
    UnsubscribePacket,
)
from ingest.handshake import ConnectStep
from ingest.session import Session
from ingest.session_events import (
    Admit,
    RecordSubscriptions,
    SessionConfig,
    SessionEvent,
    SessionRecord,
    StoreRequest,
)
from ingest.subscriptions import Subscriptions, decode_subscriptions
from shared.definitions import Topic
from shared.envelope import Envelope, decode_envelope
from shared.scripts.ingest import Admission
from tests.support.factories import VERSION, make_trigger

NOW_MS = 1_767_323_045_000
QOS = (QoS.AT_MOST_ONCE, QoS.AT_LEAST_ONCE, QoS.EXACTLY_ONCE)
EventT = TypeVar("EventT", bound=SessionEvent)
PacketT = TypeVar("PacketT", bound=Packet)


def publish(topic: str = "demo/hello", payload: bytes = b"21.5", qos: int = 1, **fields: Any) -> PublishPacket:
    """A PUBLISH as a broker sends it; packet identifier 7 unless QoS is 0."""
    if qos:
        fields.setdefault("packet_id", 7)
    return PublishPacket(topic, payload, qos=QOS[qos], **fields)


def resuming(protocol: Protocol = Protocol.V5, **fields: Any) -> ConnectStep:
    """The usual connection: resume, and let the session last."""
    return ConnectStep(protocol, clean_start=False, session_expiry_s=600, lasting=True, **fields)


class Driver:
    """A session of one trigger, and what came out of it."""

    def __init__(self, *topics: Topic, protocol: Protocol = Protocol.V5, **trigger: Any) -> None:
        self.trigger = make_trigger(*topics, **trigger)
        self.protocol = protocol
        self.session = Session(SessionConfig(self.trigger, VERSION, None, None, 1000, 60, 10.0))
        self.now_ms = NOW_MS
        self.answered: list[StoreRequest] = []
        self._events: list[SessionEvent] = []
        self._server = Decoder(protocol, 1 << 20, Role.SERVER)

    def connect(
        self,
        record: SessionRecord | None = None,
        step: ConnectStep | None = None,
    ) -> list[Inbound]:
        """Begin a connection; what is sent first."""
        self._server = Decoder(self.protocol, 1 << 20, Role.SERVER)
        record = record or SessionRecord(0, 1, None, None, {})
        self.session.connect(self.now_ms, record, step or resuming(self.protocol))
        return self.sent()

    def feed(self, *packets: Inbound) -> None:
        """Packets come in one read."""
        self.session.receive(packets, self.now_ms)

    def requests(self) -> list[StoreRequest]:
        """What is asked of the store now."""
        return self.session.take_requests()

    def store(self) -> list[StoreRequest]:
        """Answer everything that is asked, and what that leads to; what it was."""
        done: list[StoreRequest] = []
        while asked := self.session.take_requests():
            for request in asked:
                done.append(request)
                self.session.stored()
        self.answered += done
        return done

    def admitted(self) -> Admission:
        """Answer what is asked: it must be one batch, which is returned."""
        (request,) = self.store()
        assert isinstance(request, Admit)
        return request.batch

    def envelopes(self) -> list[Envelope]:
        """The envelopes of that batch."""
        return [decode_envelope(each) for each in self.admitted().envelopes]

    def writes(self) -> list[bytes]:
        """What is to be written, one item per write."""
        return self.session.take_output()

    def sent(self) -> list[Inbound]:
        """What is to be written, as packets."""
        packets: list[Inbound] = []
        for data in self.writes():
            packets += self._server.feed(data)
        assert self._server.error is None
        return packets

    def events(self, kind: type[EventT]) -> list[EventT]:
        """Events of this kind so far."""
        self._events += self.session.take_events()
        return [event for event in self._events if isinstance(event, kind)]

    def grant(self, *codes: SubAckReasonCode) -> list[Inbound]:
        """Answer what is asked with SUBACK (these codes in order, else as requested) and UNSUBACK; what was sent."""
        given = list(codes)
        asked: list[Inbound] = []
        while packets := self.sent():
            asked += packets
            for packet in packets:
                if isinstance(packet, SubscribePacket):
                    self.feed(
                        SubAckPacket(packet.packet_id, [_code(each.max_qos, given) for each in packet.topic_filters])
                    )
                elif isinstance(packet, UnsubscribePacket):
                    self.feed(UnsubAckPacket(packet.packet_id, []))
            self.store()
        return asked

    def establish(self, *codes: SubAckReasonCode, **connack: Any) -> list[Inbound]:
        """A new session up to the point where messages are expected; what was sent after CONNECT."""
        self.connect()
        self.feed(ConnAckPacket(**connack))
        self.store()
        asked = self.grant(*codes)
        self.answered_subscriptions()
        return asked

    def answered_subscriptions(self) -> Subscriptions:
        """What was recorded last."""
        recorded = [each for each in self.answered if isinstance(each, RecordSubscriptions)]
        subscriptions = decode_subscriptions(recorded[-1].json)
        assert subscriptions is not None
        return subscriptions

    def identifier(self, topic_filter: str) -> int:
        """The identifier under which a filter was subscribed last."""
        return next(each.identifier for each in self.answered_subscriptions().current if each.filter == topic_filter)


def only(kind: type[PacketT], packets: list[Inbound]) -> list[PacketT]:
    """The packets of this kind."""
    return [packet for packet in packets if isinstance(packet, kind)]


def _code(qos: QoS, given: list[SubAckReasonCode]) -> SubAckReasonCode:
    if given:
        return given.pop(0)
    granted = (
        SubAckReasonCode.GRANTED_QOS_AT_MOST_ONCE,
        SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE,
        SubAckReasonCode.GRANTED_QOS_EXACTLY_ONCE,
    )
    return granted[int(qos)]
