"""One connection of an MQTT session: from CONNECT to its end. The states are a table in `ingest.session_states`."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ingest.admission import Intake
from ingest.codec import (
    ConnAckPacket,
    DisconnectPacket,
    Inbound,
    MalformedPacket,
    OversizedPublish,
    Packet,
    PingReqPacket,
    PingRespPacket,
    Protocol,
    PublishPacket,
    PubRelPacket,
    Reason,
    SubAckPacket,
    UnsubAckPacket,
)
from ingest.codec_framing import PacketType
from ingest.handshake import (
    ConnectStep,
    connect_packet,
    disconnect_code,
    limits_of,
    reason_of,
    why_disconnected,
    why_refused,
)
from ingest.inflight import Inflight
from ingest.keep_alive import Due, KeepAlive
from ingest.outbox import Outbox
from ingest.session_events import (
    BeginEpoch,
    Closed,
    OversizedDropped,
    Purged,
    RecordSubscriptions,
    SessionConfig,
    SessionRecord,
    Silent,
    StoreRequest,
    SubscriptionRefused,
    SubscriptionsGranted,
)
from ingest.session_states import RECEIVING, Input, State, following, next_state
from ingest.subscribing import Subscribing
from ingest.subscriptions import REFUSED, Subscriptions, encode_subscriptions
from ingest.topic_aliases import TopicAliases

_INPUTS: dict[type, Input] = {
    PublishPacket: Input.PUBLISH,
    OversizedPublish: Input.PUBLISH,
    PubRelPacket: Input.PUBREL,
    SubAckPacket: Input.SUBACK,
    UnsubAckPacket: Input.UNSUBACK,
    PingRespPacket: Input.PINGRESP,
    DisconnectPacket: Input.DISCONNECT,
}
_CONNACK = PacketType.CONNACK << 4


class Connection:
    """Where one connection is, and what it makes of what comes. Once closed, it ignores everything."""

    def __init__(
        self, config: SessionConfig, outbox: Outbox, record: SessionRecord, step: ConnectStep, now_ms: int
    ) -> None:
        self.state = State.CLOSED
        self.inflight = Inflight(record.connection, record.inflight)
        self.intake = Intake(step.protocol, self.inflight, config.trigger, config.version)
        self._config = config
        self._outbox = outbox
        self._record = record
        self._step = step
        self._aliases = TopicAliases(config.trigger.topic_alias_maximum)
        self._keep_alive = KeepAlive(config.keep_alive_s, now_ms)
        self._answer_by_ms = now_ms + config.connect_timeout_s * 1000
        self._subscribing: Subscribing | None = None
        self._receiving = False
        self._accepted = False
        self._outdated = False
        self._intention: StoreRequest | None = None
        self._intended: list[Packet] = []
        self._move(Input.CONNECT)
        outbox.begin(step.protocol)
        self._write(connect_packet(config, step))

    def receive(self, packets: Sequence[Inbound], now_ms: int) -> None:
        """Packets came. Raises MalformedPacket for one that has no place in this state, or breaks MQTT otherwise."""
        self._keep_alive.heard()
        intake = self.intake
        for packet in packets:
            if type(packet) is PublishPacket and self._receiving:
                topic, alias = packet.topic, packet.topic_alias
                if alias is not None or not topic:
                    topic = self._aliases.resolve(topic, alias)
                intake.publish(packet, topic, now_ms)
            elif type(packet) is PubRelPacket and self._receiving:
                intake.release(packet.packet_id)
            else:
                self._control(packet, now_ms)
                if self.state is State.CLOSED:
                    return
        self._record_copies()

    def flush(self) -> None:
        """Make requests of what was received."""
        for batch in self.intake.take():
            self._outbox.admit(batch)

    def stored(self, request: StoreRequest, acks: bytes) -> None:
        """This request was carried out; `acks` waited for it."""
        if acks:
            self.inflight.answered()
            self._keep_alive.wrote()
            self._outbox.acknowledge(acks)
        if isinstance(request, BeginEpoch):
            self._move(Input.EPOCH)
            if self._receiving:
                self._ask(None, certain=True)
        elif request is self._intention and self._receiving:
            self._write(*self._intended)
        self._finish_draining()

    def tick(self, now_ms: int, *, reading: bool) -> None:
        """Time has passed."""
        if self.state is State.CONNECTING:
            if now_ms >= self._answer_by_ms:
                self._give_up("CONNECT")
            return
        if self._receiving:
            self.intake.tick(now_ms, reading=reading)
        due = self._keep_alive.tick(now_ms, reading=reading)
        if due is Due.GIVE_UP:
            self._give_up("PINGREQ")
        elif due is Due.PING:
            self._outbox.write(PingReqPacket())

    def drain(self) -> None:
        """End as soon as what was received is stored and acknowledged."""
        if self.state is State.CONNECTING:
            self.end(Input.DRAIN, "stopped")
            return
        self._move(Input.DRAIN)
        self.flush()
        self._finish_draining()

    def reject(self, error: MalformedPacket) -> None:
        """End because of what the peer sent. MQTT 5 lets us say why (§4.13), 3.1.1 does not."""
        if self._step.protocol is Protocol.V5:
            self._write(DisconnectPacket(reason_code=disconnect_code(error.reason_code)))
        self.end(Input.END, error.message)

    def end(self, happened: Input, reason: str) -> None:
        """It is over: what was received is still to be stored, but nothing more is acknowledged."""
        self._move(happened)
        for batch in self.intake.take():
            batch.acks.clear()
            self._outbox.admit(batch)
        self._outbox.events.append(Closed(reason, self._accepted))

    def change(self, config: SessionConfig) -> None:
        """The trigger was deployed again."""
        self._config = config
        if self._subscribing is None:
            return
        known = self._subscribing.subscriptions
        self.intake.use(config.trigger, config.version, known)
        if self.state is State.ESTABLISHED:
            self._ask(known, certain=True)
        else:
            self._outdated = self.state is State.SUBSCRIBING

    def unsubscribe(self) -> None:
        """Nothing more is wanted; what the broker has yet to send is taken in."""
        if self._subscribing is not None and self.state is State.ESTABLISHED:
            self._request(
                self._subscribing, self._subscribing.leave(self._config.trigger, self._subscribing.subscriptions)
            )

    def _move(self, happened: Input) -> None:
        self.state = next_state(self.state, happened)
        self._receiving = self.state in RECEIVING

    def _write(self, *packets: Packet) -> None:
        self._keep_alive.wrote()
        self._outbox.write(*packets)

    def _control(self, packet: Inbound, now_ms: int) -> None:
        if isinstance(packet, ConnAckPacket) and self.state is State.CONNECTING:
            self._connack(packet, now_ms)
            return
        happened = _INPUTS.get(type(packet))
        if happened is None or following(self.state, happened) is None:
            raise MalformedPacket(
                Reason.PROTOCOL_ERROR, _first_byte(packet), f"it has no place while {self.state.value}"
            )
        if isinstance(packet, DisconnectPacket):
            self._outbox.events.append(why_disconnected(packet))
            self.end(Input.DISCONNECT, reason_of(packet))
        elif isinstance(packet, OversizedPublish) and self._receiving:
            topic = self._aliases.resolve(packet.topic, packet.properties.topic_alias)
            self.intake.oversized(packet, topic, now_ms)
            self._outbox.events.append(OversizedDropped(topic, int(packet.qos), packet.size))
        elif self.state is State.SUBSCRIBING and self._subscribing is not None:
            if isinstance(packet, SubAckPacket):
                self._go_on(self._subscribing, self._subscribing.answered(packet))
            elif isinstance(packet, UnsubAckPacket):
                self._subscribing.unsubscribed(packet.packet_id)
                self._go_on(self._subscribing, [])

    def _connack(self, packet: ConnAckPacket, now_ms: int) -> None:
        record, step = self._record, self._step
        if (refusal := why_refused(packet, step.protocol)) is not None:
            if record.subscriptions is not None:  # the broker said no, so its session is as it was
                settled = msgspec.structs.replace(record.subscriptions, connection=record.connection)
                self._outbox.request(RecordSubscriptions(encode_subscriptions(settled)))
            self._outbox.events.append(refusal)
            self.end(Input.REFUSED, reason_of(packet))
            return
        if packet.session_present and step.clean_start:
            raise MalformedPacket(Reason.PROTOCOL_ERROR, _CONNACK, "a session is present after a clean start")
        self._accepted = True
        if packet.server_keep_alive is not None:
            self._keep_alive = KeepAlive(packet.server_keep_alive, now_ms)
        if step.purge:
            self._write(DisconnectPacket())
            self._outbox.events.append(Purged())
            self.end(Input.PURGED, "the old session is ended")
            return
        self._outbox.events.append(limits_of(packet, self._config))
        self._subscribing = Subscribing(step.protocol, record.connection, packet)
        if packet.session_present and record.epoch and record.protocol is step.protocol:
            self._move(Input.RESUMED)
            known = record.subscriptions
            before = known is not None and known.connection == record.connection - 1
            self._ask(known, certain=before and not record.moved)
        else:
            self._move(Input.FRESH)
            self.inflight.clear()
            self.intake.copies.fresh = not packet.session_present
            self._outbox.request(BeginEpoch(step.protocol, None if packet.session_present else record.left))

    def _ask(self, known: Subscriptions | None, *, certain: bool) -> None:
        """Make the subscriptions what the trigger wants. The store knows of each before the broker does."""
        if (subscribing := self._subscribing) is None:
            return
        if self._config.leaving:
            subscribing.subscriptions = known or subscribing.subscriptions
            self.intake.use(self._config.trigger, self._config.version, known)
            self._move(Input.AGREED)
            return
        self._request(subscribing, subscribing.ask(self._config.trigger, known, certain=certain))

    def _request(self, subscribing: Subscribing, packets: list[Packet]) -> None:
        self._intended = packets
        if not self._intended:
            self._go_on(subscribing, [])
            return
        self._move(Input.ASKED)
        self.intake.use(self._config.trigger, self._config.version, subscribing.subscriptions)
        self._intention = self._record_subscriptions(subscribing)

    def _go_on(self, subscribing: Subscribing, packets: list[Packet]) -> None:
        """The broker has answered a part."""
        self.intake.use(self._config.trigger, self._config.version, subscribing.subscriptions)
        if packets:
            self._write(*packets)
        elif subscribing.agreed:
            self._move(Input.AGREED)
            self._agreed(subscribing)

    def _agreed(self, subscribing: Subscribing) -> None:
        subscribing.subscriptions = msgspec.structs.replace(
            subscribing.subscriptions, connection=self._record.connection, lasting=self._step.lasting, leaving=[]
        )
        self._record_subscriptions(subscribing)
        if self._config.leaving:
            return
        answers = subscribing.granted(self._config.trigger)
        refused = {topic: code for topic, code in answers.items() if code >= REFUSED}
        granted = {topic: qos for topic, qos in answers.items() if qos < REFUSED}
        self._outbox.events += [SubscriptionRefused(topic, code) for topic, code in refused.items()]
        self._outbox.events.append(SubscriptionsGranted(granted))
        if self._outdated:
            self._outdated = False
            self._ask(subscribing.subscriptions, certain=True)

    def _record_copies(self) -> None:
        """The broker was seen to send copies: that is worth keeping over a crash."""
        subscribing = self._subscribing
        if subscribing is not None and self.intake.copies.known and not subscribing.subscriptions.copies:
            subscribing.subscriptions = msgspec.structs.replace(subscribing.subscriptions, copies=True)
            if self.state is State.ESTABLISHED:
                self._record_subscriptions(subscribing)

    def _record_subscriptions(self, subscribing: Subscribing) -> StoreRequest:
        self.flush()
        request = RecordSubscriptions(encode_subscriptions(subscribing.subscriptions))
        self._outbox.request(request)
        return request

    def _finish_draining(self) -> None:
        if self.state is State.DRAINING and not len(self._outbox):
            self._write(DisconnectPacket())
            self.end(Input.DRAINED, "stopped")

    def _give_up(self, on: str) -> None:
        self._outbox.events.append(Silent(on))
        self.end(Input.END, f"no answer to {on}")


def _first_byte(packet: Inbound) -> int:
    if isinstance(packet, OversizedPublish):
        return PacketType.PUBLISH << 4
    return PacketType[type(packet).__name__.removesuffix("Packet").upper()] << 4
