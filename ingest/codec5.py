"""Reading MQTT 5 frames with the `mqtt5` parser, stricter than it is by itself.

The parser lets a property run past its section and takes any payload format; the walk over the section here does not.
A section is walked once and then known by its bytes, so that one that comes again and again (a subscription identifier,
a content type) costs a look-up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, cast

import mqtt5
from mqtt5 import ConnAckPacket, ConnAckReasonCode, PublishPacket

from ingest.codec_framing import (
    Known,
    MalformedPacket,
    PacketType,
    Reason,
    binary_end,
    check_entries,
    check_packet_id,
    publish_head,
    section_bounds,
    text_end,
    varint,
)

Packet: TypeAlias = (
    mqtt5.ConnectPacket
    | ConnAckPacket
    | PublishPacket
    | mqtt5.PubAckPacket
    | mqtt5.PubRecPacket
    | mqtt5.PubRelPacket
    | mqtt5.PubCompPacket
    | mqtt5.SubscribePacket
    | mqtt5.SubAckPacket
    | mqtt5.UnsubscribePacket
    | mqtt5.UnsubAckPacket
    | mqtt5.PingReqPacket
    | mqtt5.PingRespPacket
    | mqtt5.DisconnectPacket
    | mqtt5.AuthPacket
)

# The properties of §2.2.2.2 by the form of their value. Which packet may carry which of them the parser knows.
_FIXED = (
    dict.fromkeys((0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A), 1)
    | dict.fromkeys((0x13, 0x21, 0x22, 0x23), 2)
    | dict.fromkeys((0x02, 0x11, 0x18, 0x27), 4)
)
_TEXT = frozenset((0x03, 0x08, 0x12, 0x15, 0x1A, 0x1C, 0x1F))
_BINARY = frozenset((0x09, 0x16))
_SUBSCRIPTION_ID = 0x0B
_TOPIC_ALIAS = 0x23
_USER_PROPERTY = 0x26
_MAXIMUM_QOS = 0x24
_HIGHEST = dict.fromkeys((0x01, 0x17, 0x19, 0x25, 0x28, 0x29, 0x2A), 1) | {_MAXIMUM_QOS: 2}
"""Maximum QoS 2 is as forbidden as 3 (§3.2.2.3.4), but EMQX 3.0, RMQTT 0.3 and others say it, and mean no harm."""
_NEVER_ZERO = {
    _SUBSCRIPTION_ID: Reason.PROTOCOL_ERROR,
    0x21: Reason.PROTOCOL_ERROR,
    0x27: Reason.PROTOCOL_ERROR,
    _TOPIC_ALIAS: Reason.TOPIC_ALIAS_INVALID,
}

_SECTION_AT: dict[int, int] = {
    PacketType.CONNECT: 10,
    PacketType.CONNACK: 2,
    PacketType.PUBACK: 3,
    PacketType.PUBREC: 3,
    PacketType.PUBREL: 3,
    PacketType.PUBCOMP: 3,
    PacketType.SUBSCRIBE: 2,
    PacketType.SUBACK: 2,
    PacketType.UNSUBSCRIBE: 2,
    PacketType.UNSUBACK: 2,
    PacketType.DISCONNECT: 1,
}
"""Where a packet's property section begins, in bytes after its fixed header; the short forms end before it."""

_CONNACKS_311 = (b"\x20\x02\x00", b"\x20\x02\x01")
_RESERVED_OPTIONS = 0xC0

# The parser takes any buffer; a frame copied out of a read is parsed faster than a view of it.
read = cast("Callable[[bytes], tuple[Any, int]]", mqtt5.read)


def parse(frame: bytes) -> Any:
    """The packet of one complete MQTT 5 frame, of the class that its first byte names.

    Raises MalformedPacket, even where the parser panics.
    """
    try:
        return read(frame)[0]
    except (ValueError, IndexError) as error:
        raise MalformedPacket(Reason.MALFORMED_PACKET, frame[0], str(error)) from error
    except BaseException as error:
        if not is_panic(error):
            raise
        raise MalformedPacket(Reason.MALFORMED_PACKET, frame[0], "the parser gave it up") from error


def is_panic(error: BaseException) -> bool:
    """Whether the codec's Rust code gave up. The class of its exception has a name but cannot be imported."""
    return type(error).__name__ == "PanicException"


class Reader5:
    """Reads the complete frames of one MQTT 5 connection. Raises MalformedPacket and nothing else."""

    def __init__(self, known: Known) -> None:
        self._known = known

    def publish(self, frame: bytes, header: int) -> PublishPacket:
        """The PUBLISH of a frame whose fixed header has `header` bytes."""
        topic, at = publish_head(frame, header, self._known)
        if at == len(frame):
            raise MalformedPacket(Reason.MALFORMED_PACKET, frame[0], "it ends before its properties", at)
        has_alias = self._has_alias(frame, *_section(frame, at))
        if not topic and not has_alias:
            raise MalformedPacket(Reason.PROTOCOL_ERROR, frame[0], "it has neither topic nor topic alias", header)
        packet: PublishPacket = parse(frame)
        return packet

    def _has_alias(self, frame: bytes, begin: int, end: int) -> bool:
        section = frame[begin:end]
        has_alias = self._known.sections.get(section)
        if has_alias is None:
            has_alias = _TOPIC_ALIAS in _walk(frame, begin, end)
            self._known.learn_section(section, has_alias=has_alias)
        return has_alias

    def control(self, frame: bytes, header: int) -> Packet:
        """The packet of a frame that is no PUBLISH. A CONNACK in the form of 3.1.1 refuses the version."""
        kind = frame[0] >> 4
        if frame[:3] in _CONNACKS_311 and len(frame) == 4:
            return ConnAckPacket(reason_code=ConnAckReasonCode.UNSUPPORTED_PROTOCOL_VERSION)
        if PacketType.PUBACK <= kind <= PacketType.UNSUBACK:
            check_packet_id(frame, header)
        at = header + _SECTION_AT.get(kind, len(frame))
        if at < len(frame):
            begin, end = _section(frame, at)
            _walk(frame, begin, end)
            if PacketType.SUBSCRIBE <= kind <= PacketType.UNSUBACK:
                check_entries(frame, end, _RESERVED_OPTIONS)
            elif kind == PacketType.CONNECT:
                _check_connect(frame, frame[header + 7], end)
        packet: Packet = parse(frame)
        return packet


def _section(frame: bytes, at: int) -> tuple[int, int]:
    begin, end = section_bounds(frame, 0, at, len(frame))
    if end > len(frame):
        raise MalformedPacket(Reason.MALFORMED_PACKET, frame[0], "it ends before its properties do", at)
    return begin, end


def _check_connect(frame: bytes, flags: int, at: int) -> None:
    """The payload of CONNECT (§3.1.3) from `at` on: strings are UTF-8, the will's properties fill their section."""
    stop = len(frame)
    at = text_end(frame, at, stop)
    if flags & 0x04:
        begin, end = _section(frame, at)
        _walk(frame, begin, end)
        at = binary_end(frame, text_end(frame, end, stop), stop)
    if flags & 0x80:
        text_end(frame, at, stop)


def _walk(frame: bytes, at: int, stop: int) -> set[int]:
    """The identifiers of the properties that fill a section exactly (§2.2.2)."""
    seen: set[int] = set()
    while at < stop:
        begin, name = at, frame[at]
        at = _value_end(frame, name, begin + 1, stop)
        if at > stop:
            detail = f"property 0x{name:02x} runs past the property length"
            raise MalformedPacket(Reason.MALFORMED_PACKET, frame[0], detail, begin)
        if name in seen and name not in (_SUBSCRIPTION_ID, _USER_PROPERTY):
            raise MalformedPacket(Reason.PROTOCOL_ERROR, frame[0], f"property 0x{name:02x} comes twice", begin)
        if name in _HIGHEST and frame[begin + 1] > _HIGHEST[name]:
            detail = f"property 0x{name:02x} is above {_HIGHEST[name]}"
            raise MalformedPacket(Reason.PROTOCOL_ERROR, frame[0], detail, begin)
        if name in _NEVER_ZERO and not any(frame[begin + 1 : at]):
            raise MalformedPacket(_NEVER_ZERO[name], frame[0], f"property 0x{name:02x} is 0", begin)
        seen.add(name)
    return seen


def _value_end(frame: bytes, name: int, at: int, stop: int) -> int:
    """Where the value of a property ends; beyond `stop` if it has no room."""
    if name in _FIXED:
        return at + _FIXED[name]
    if name in _TEXT:
        return text_end(frame, at, stop)
    if name in _BINARY:
        return binary_end(frame, at, stop)
    if name == _USER_PROPERTY:
        return text_end(frame, text_end(frame, at, stop), stop)
    if name != _SUBSCRIPTION_ID:
        raise MalformedPacket(Reason.MALFORMED_PACKET, frame[0], f"there is no property 0x{name:02x}", at - 1)
    try:
        value, end = varint(frame, at, stop)
    except ValueError as error:
        raise MalformedPacket(Reason.MALFORMED_PACKET, frame[0], f"a subscription identifier {error}", at) from error
    return stop + 1 if value < 0 else end
