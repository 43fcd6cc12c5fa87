"""MQTT 3.1.1 with the packet classes of MQTT 5.

Reading: a PUBLISH becomes its packet directly, every other frame is given the property section that 3.1.1 does not
have and read as MQTT 5. What 3.1.1 does not allow is refused, also where MQTT 5 would take it. Writing is the same
backwards: there are no properties, subscription options beyond the QoS or negative acknowledgements to write.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mqtt5 import (
    ConnAckPacket,
    ConnectPacket,
    DisconnectPacket,
    PingReqPacket,
    PingRespPacket,
    PubAckPacket,
    PubCompPacket,
    PublishPacket,
    PubRecPacket,
    PubRelPacket,
    SubAckPacket,
    SubscribePacket,
    TopicFilter,
    UnsubAckPacket,
    UnsubscribePacket,
)

from ingest.codec5 import Packet, Reader5, parse
from ingest.codec_framing import (
    Known,
    MalformedPacket,
    PacketType,
    Protocol,
    Reason,
    UnencodablePacket,
    binary_end,
    check_entries,
    check_packet_id,
    frame_size,
    payload_start,
    publish_head,
    section_bounds,
    varint_bytes,
)
from ingest.codec_known import publish311

# Connect return codes of 3.1.1 (§3.2.2.3) and the MQTT 5 reason codes that say the same.
_RETURN_CODES = {0: 0x00, 1: 0x84, 2: 0x85, 3: 0x88, 4: 0x86, 5: 0x87}
_FROM_REASON = {reason: code for code, reason in _RETURN_CODES.items()}
_SUBACK_CODES = frozenset((0, 1, 2, 0x80))
_RESERVED_OPTIONS = 0xFC

_BODY_BYTES: dict[int, int] = {
    PacketType.CONNACK: 2,
    PacketType.PUBACK: 2,
    PacketType.PUBREC: 2,
    PacketType.PUBREL: 2,
    PacketType.PUBCOMP: 2,
    PacketType.UNSUBACK: 2,
    PacketType.PINGREQ: 0,
    PacketType.PINGRESP: 0,
    PacketType.DISCONNECT: 0,
}


class Reader311:
    """Reads the complete frames of one MQTT 3.1.1 connection. Raises MalformedPacket and nothing else."""

    def __init__(self, known: Known) -> None:
        self._known = known

    def publish(self, frame: bytes, header: int) -> PublishPacket:
        """The PUBLISH of a frame whose fixed header has `header` bytes."""
        topic, at = publish_head(frame, header, self._known)
        if not topic:
            raise MalformedPacket(Reason.TOPIC_NAME_INVALID, frame[0], "it has no topic", header)
        packet_id = frame[at - 2] << 8 | frame[at - 1] if frame[0] & 0x06 else None
        return publish311(frame[0], topic, packet_id, frame[at:])

    def control(self, frame: bytes, header: int) -> Packet:
        """The packet of a frame that is no PUBLISH."""
        kind = frame[0] >> 4
        if len(frame) - header != _BODY_BYTES.get(kind, len(frame) - header):
            detail = f"its remaining length must be {_BODY_BYTES[kind]}"
            raise MalformedPacket(Reason.MALFORMED_PACKET, frame[0], detail, 1)
        if PacketType.PUBACK <= kind <= PacketType.UNSUBACK:
            check_packet_id(frame, header)
        if kind == PacketType.CONNECT:
            v5 = _v5_connect(frame, header)
            return Reader5(self._known).control(v5, frame_size(v5, 0)[1])
        transcode = _TO_V5.get(kind)
        packet: Packet = parse(transcode(frame, header) if transcode else frame)
        return packet


def _v5_connack(frame: bytes, header: int) -> bytes:
    reason = _RETURN_CODES.get(frame[header + 1])
    if reason is None:
        detail = f"there is no return code {frame[header + 1]}"
        raise MalformedPacket(Reason.MALFORMED_PACKET, frame[0], detail, header + 1)
    return bytes((frame[0], 3, frame[header], reason, 0))


def _v5_entries(frame: bytes, header: int) -> bytes:
    check_entries(frame, header + 2, _RESERVED_OPTIONS)
    return _with_empty_section(frame, header, header + 2)


def _v5_suback(frame: bytes, header: int) -> bytes:
    if not _SUBACK_CODES.issuperset(frame[header + 2 :]):
        raise MalformedPacket(Reason.MALFORMED_PACKET, frame[0], "a return code is none of 0, 1, 2, 128", header + 2)
    return _v5_entries(frame, header)


def _v5_unsuback(frame: bytes, header: int) -> bytes:
    return _with_empty_section(frame, header, header + 2)


def _v5_connect(frame: bytes, header: int) -> bytes:
    """CONNECT, as it comes from a client (§3.1): the level becomes 5, a will gets its own property section."""
    client_id = header + 10
    flags = frame[header + 7]
    if flags & 0xC0 == 0x40:
        raise MalformedPacket(Reason.MALFORMED_PACKET, frame[0], "a password without a user name", header + 7)
    body = frame[header : header + 6] + b"\x05" + frame[header + 7 : client_id] + b"\0"
    if flags & 0x04:
        will = binary_end(frame, client_id, len(frame))
        return _framed(frame, body + frame[client_id:will] + b"\0" + frame[will:])
    return _framed(frame, body + frame[client_id:])


def _with_empty_section(frame: bytes, header: int, at: int) -> bytes:
    return _framed(frame, frame[header:at] + b"\0" + frame[at:])


_TO_V5: dict[int, Callable[[bytes, int], bytes]] = {
    PacketType.CONNACK: _v5_connack,
    PacketType.SUBSCRIBE: _v5_entries,
    PacketType.SUBACK: _v5_suback,
    PacketType.UNSUBSCRIBE: _v5_entries,
    PacketType.UNSUBACK: _v5_unsuback,
}


def encode311(packet: Packet) -> bytes:
    """The packet in 3.1.1. What CONNECT and the acknowledgements can say in MQTT 5 only is left out.

    Raises UnencodablePacket where leaving something out would change the meaning.
    """
    encoder = _ENCODERS.get(type(packet))
    if encoder is None:
        raise UnencodablePacket(f"MQTT 3.1.1 has no {type(packet).__name__}")
    return encoder(packet)


def _connect(packet: ConnectPacket) -> bytes:
    if packet.password is not None and packet.username is None:
        raise UnencodablePacket(
            "MQTT 3.1.1 cannot send a password without a user name",
            hint="set the user name, or drop the password",
        )
    if not packet.client_id and not packet.clean_start:
        raise UnencodablePacket("MQTT 3.1.1 cannot resume a session without a client id", hint="set the client id")
    frame = packet.write()
    _, header = frame_size(frame, 0)
    _, client_id = section_bounds(frame, 0, header + 10, len(frame))
    will = rest = binary_end(frame, client_id, len(frame))
    if packet.will is not None:
        _, rest = section_bounds(frame, 0, will, len(frame))
    head = frame[header : header + 6] + b"\x04" + frame[header + 7 : header + 10]
    return _framed(frame, head + frame[client_id:will] + frame[rest:])


def _connack(packet: ConnAckPacket) -> bytes:
    code = _FROM_REASON.get(int(packet.reason_code))
    if code is None:
        raise UnencodablePacket(f"MQTT 3.1.1 has no return code for {packet.reason_code!r}")
    return bytes((0x20, 2, packet.session_present, code))


def _publish(packet: PublishPacket) -> bytes:
    frame = packet.write()
    _, header = frame_size(frame, 0)
    return _without_section(frame, header, payload_start(frame, 0, header, len(frame), Protocol.V311))


def _subscribe(packet: SubscribePacket) -> bytes:
    filters = [TopicFilter(f.pattern, max_qos=f.max_qos, retain_as_published=False) for f in packet.topic_filters]
    return _unsubscribe(
        SubscribePacket(
            packet.packet_id,
            filters,
            subscription_id=packet.subscription_id,
            user_properties=packet.user_properties,
        )
    )


def _unsubscribe(packet: SubscribePacket | UnsubscribePacket) -> bytes:
    frame = packet.write()
    _, header = frame_size(frame, 0)
    return _without_section(frame, header, header + 2)


def _suback(packet: SubAckPacket) -> bytes:
    codes = bytes(min(int(code), 0x80) for code in packet.reason_codes)
    return _framed(b"\x90", packet.packet_id.to_bytes(2, "big") + codes)


def _acknowledgement(packet: PubAckPacket | PubRecPacket | PubRelPacket | PubCompPacket | UnsubAckPacket) -> bytes:
    return packet.write()[:1] + b"\x02" + packet.packet_id.to_bytes(2, "big")


def _bare(packet: PingReqPacket | PingRespPacket | DisconnectPacket) -> bytes:
    return packet.write()[:1] + b"\0"


def _without_section(frame: bytes, header: int, at: int) -> bytes:
    if frame[at]:
        name = PacketType(frame[0] >> 4).name
        raise UnencodablePacket(f"MQTT 3.1.1 has no properties, this {name} has", hint="use MQTT 5, or leave them out")
    return _framed(frame, frame[header:at] + frame[at + 1 :])


def _framed(first: bytes, body: bytes) -> bytes:
    """A frame whose first byte is that of `first`."""
    return first[:1] + varint_bytes(len(body)) + body


_ENCODERS: dict[type, Callable[[Any], bytes]] = {
    ConnectPacket: _connect,
    ConnAckPacket: _connack,
    PublishPacket: _publish,
    PubAckPacket: _acknowledgement,
    PubRecPacket: _acknowledgement,
    PubRelPacket: _acknowledgement,
    PubCompPacket: _acknowledgement,
    SubscribePacket: _subscribe,
    SubAckPacket: _suback,
    UnsubscribePacket: _unsubscribe,
    UnsubAckPacket: _acknowledgement,
    PingReqPacket: _bare,
    PingRespPacket: _bare,
    DisconnectPacket: _bare,
}
