"""MQTT packets to bytes and back, without I/O: one Decoder per connection, and `encode`.

The only door to the `mqtt5` package, together with its sibling modules: everything else takes packet classes from here.
"""

from __future__ import annotations

import enum
from typing import TypeAlias

from mqtt5 import (
    ConnAckPacket,
    ConnAckReasonCode,
    ConnectPacket,
    DisconnectPacket,
    DisconnectReasonCode,
    PingReqPacket,
    PingRespPacket,
    PubAckPacket,
    PubAckReasonCode,
    PubCompPacket,
    PubCompReasonCode,
    PublishPacket,
    PubRecPacket,
    PubRecReasonCode,
    PubRelPacket,
    PubRelReasonCode,
    QoS,
    RetainHandling,
    SubAckPacket,
    SubAckReasonCode,
    SubscribePacket,
    TopicFilter,
    UnsubAckPacket,
    UnsubAckReasonCode,
    UnsubscribePacket,
    Will,
)

from ingest.codec5 import Packet, Reader5, is_panic
from ingest.codec311 import Reader311, encode311
from ingest.codec_framing import (
    CONTROL_LIMIT,
    Known,
    MalformedPacket,
    PacketType,
    Protocol,
    Reason,
    UnencodablePacket,
    connect_level,
    frame_size,
    payload_start,
    varint_bytes,
)
from ingest.codec_known import known_publishes
from ingest.codec_oversize import HEAD_BYTES, OversizedBody, OversizedPublish, publish_digest

__all__ = [
    "HEAD_BYTES",
    "PUBACKS",
    "PUBCOMPS",
    "PUBRECS",
    "ConnAckPacket",
    "ConnAckReasonCode",
    "ConnectPacket",
    "Decoder",
    "DisconnectPacket",
    "DisconnectReasonCode",
    "Inbound",
    "MalformedPacket",
    "OversizedPublish",
    "Packet",
    "PingReqPacket",
    "PingRespPacket",
    "Protocol",
    "PubAckPacket",
    "PubAckReasonCode",
    "PubCompPacket",
    "PubCompReasonCode",
    "PubRecPacket",
    "PubRecReasonCode",
    "PubRelPacket",
    "PubRelReasonCode",
    "PublishPacket",
    "QoS",
    "Reason",
    "RetainHandling",
    "Role",
    "SubAckPacket",
    "SubAckReasonCode",
    "SubscribePacket",
    "TopicFilter",
    "UnencodablePacket",
    "UnsubAckPacket",
    "UnsubAckReasonCode",
    "UnsubscribePacket",
    "Will",
    "encode",
    "publish_digest",
]

Inbound: TypeAlias = Packet | OversizedPublish

PUBACKS = tuple(b"\x40\x02" + packet_id.to_bytes(2, "big") for packet_id in range(65536))
"""The PUBACK of each packet identifier, without a reason: the same bytes in both protocol versions."""
PUBRECS = tuple(b"\x50\x02" + packet_id.to_bytes(2, "big") for packet_id in range(65536))
PUBCOMPS = tuple(b"\x70\x02" + packet_id.to_bytes(2, "big") for packet_id in range(65536))


class Role(enum.Enum):
    """Which side of the connection reads."""

    CLIENT = "client"
    SERVER = "server"


_READERS: dict[Protocol, type[Reader5 | Reader311]] = {Protocol.V5: Reader5, Protocol.V311: Reader311}

_BOTH = frozenset((PacketType.PUBLISH, PacketType.PUBACK, PacketType.PUBREC, PacketType.PUBREL, PacketType.PUBCOMP))
_FROM_SERVER_311 = _BOTH | {PacketType.CONNACK, PacketType.SUBACK, PacketType.UNSUBACK, PacketType.PINGRESP}
_FROM_SERVER = {Protocol.V311: _FROM_SERVER_311, Protocol.V5: _FROM_SERVER_311 | {PacketType.DISCONNECT}}
_FROM_CLIENT = _BOTH | {PacketType.SUBSCRIBE, PacketType.UNSUBSCRIBE, PacketType.PINGREQ, PacketType.DISCONNECT}
_FROM_CLIENT_FIRST = frozenset((PacketType.CONNECT,))


class Decoder:
    """Turns what a connection receives into packets, in order, however it is cut.

    A PUBLISH whose payload has more than `max_payload` bytes comes as OversizedPublish at its last byte and is never
    held whole: what is buffered stays below `max_payload` plus 2 MiB. A server learns the protocol from CONNECT;
    `protocol` says it from then on.
    """

    def __init__(self, protocol: Protocol, max_payload: int, role: Role = Role.CLIENT) -> None:
        self.protocol = protocol
        self.error: MalformedPacket | None = None
        """What ended the decoding, once it has: nothing is accepted after it."""
        self._max_payload = max_payload
        self._known = Known()
        self._reader = _READERS[protocol](self._known)
        self._accepts = _FROM_SERVER[protocol] if role is Role.CLIENT else _FROM_CLIENT_FIRST
        self._tail = bytearray()
        self._needed = 0
        self._body: OversizedBody | None = None

    @property
    def is_amid_packet(self) -> bool:
        """Whether the rest of a packet has yet to come."""
        return bool(self._tail) or self._body is not None

    def feed(self, data: bytes) -> list[Inbound]:
        """The packets that these bytes complete. Never raises: packets before a malformed one are returned, then
        `error` is set and every later call returns nothing.
        """
        packets: list[Inbound] = []
        if self.error is None:
            try:
                self._feed(data, packets)
            except MalformedPacket as error:
                self.error = error
                self._tail.clear()
                self._body = None
        return packets

    def _feed(self, data: bytes, packets: list[Inbound]) -> None:
        if self._tail:
            self._tail += data
            if len(self._tail) < self._needed:
                return
            data = bytes(self._tail)
            self._tail.clear()
        at, before = 0, -1
        while before < at < len(data):
            before = at
            at = self._frames(data, at, packets) if self._body is None else self._stream(self._body, data, at, packets)
        self._tail += data[at:]

    def _frames(self, data: bytes, at: int, packets: list[Inbound]) -> int:
        """Decodes complete frames. Returns where it stopped: at an incomplete frame or at an oversized payload."""
        end = len(data)
        while at < end:
            if data[at] & 0xF0 == 0x30:
                at = known_publishes(data, at, self._max_payload, self.protocol, self._known, packets)
                if at == end:
                    break
            first = data[at]
            length, header = frame_size(data, at)
            if length < 0:
                self._needed = header + 1
                break
            stop = at + header + length
            self._check_start(first, length)
            is_publish = first & 0xF0 == 0x30
            if is_publish and length > self._max_payload:
                payload = payload_start(data, at, header, min(stop, end), self.protocol)
                if end < payload <= stop:
                    self._needed = payload - at
                    break
                if stop - payload > self._max_payload:
                    self._begin_body(data[at:payload], header, stop - payload)
                    return payload
            if stop > end:
                self._needed = stop - at
                break
            frame = data[at:stop]
            packets.append(self._reader.publish(frame, header) if is_publish else self._control(frame, header))
            at = stop
        return at

    def _check_start(self, first: int, length: int) -> None:
        kind = first >> 4
        if kind == 0:
            raise MalformedPacket(Reason.MALFORMED_PACKET, first, "its type 0 is reserved", 0)
        if kind not in self._accepts:
            raise MalformedPacket(Reason.PROTOCOL_ERROR, first, "it may not be sent here", 0)
        if length > CONTROL_LIMIT and kind != PacketType.PUBLISH:
            raise MalformedPacket(Reason.PACKET_TOO_LARGE, first, f"a remaining length of {length} bytes", 1)

    def _control(self, frame: bytes, header: int) -> Packet:
        if frame[0] >> 4 == PacketType.CONNECT:
            self.protocol = connect_level(frame, header)
            self._reader = _READERS[self.protocol](self._known)
            self._accepts = _FROM_CLIENT
        return self._reader.control(frame, header)

    def _begin_body(self, head: bytes, header: int, size: int) -> None:
        """From here `size` bytes are payload and stream through; `head` is the packet before them."""
        length = varint_bytes(len(head) - header)
        frame = head[:1] + length + head[header:]
        self._body = OversizedBody(self._reader.publish(frame, 1 + len(length)), size)

    def _stream(self, body: OversizedBody, data: bytes, at: int, packets: list[Inbound]) -> int:
        stop = min(len(data), at + body.missing)
        body.take(memoryview(data)[at:stop])
        if not body.missing:
            packets.append(body.finish())
            self._body = None
        return stop


def encode(packet: Packet, protocol: Protocol) -> bytes:
    """The bytes of a packet. Raises UnencodablePacket, with the reason, if the protocol cannot say it.

    On 3.1.1 acknowledgements lose their reason code, subscriptions all options but the QoS. What is too long or out of
    range the packet classes refuse with ValueError when they are made.
    """
    try:
        return packet.write() if protocol is Protocol.V5 else encode311(packet)
    except BaseException as error:
        if not is_panic(error):
            raise
        raise UnencodablePacket(f"{type(packet).__name__}: {error}", hint="a packet ends at 256 MiB") from error
