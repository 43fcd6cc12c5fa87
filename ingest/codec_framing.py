"""MQTT bytes below the packet classes: frames, strings, packet identifiers, the head of a PUBLISH.

The checks here close what the `mqtt5` parser leaves open, for both protocol versions: it panics on strings that are not
UTF-8 and lets packet identifier 0 and wildcards in a topic name pass. Positions count from a packet's first byte.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TypeVar

from shared.errors import PeerError, UserError

CONTROL_LIMIT = 1 << 20
"""Bytes: no packet but PUBLISH, and no property section of a PUBLISH, may be longer."""

_KNOWN_ENTRIES = 16384
_KNOWN_KEY_BYTES = 256

_V = TypeVar("_V")


class Protocol(enum.IntEnum):
    """The protocol level of CONNECT."""

    V311 = 4
    V5 = 5


class PacketType(enum.IntEnum):
    """The upper four bits of a packet's first byte (MQTT 5 §2.1.2)."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    PUBREC = 5
    PUBREL = 6
    PUBCOMP = 7
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14
    AUTH = 15


class Reason(enum.IntEnum):
    """The reason codes with which a connection ends because of what the peer sent (MQTT 5 §4.13)."""

    MALFORMED_PACKET = 0x81
    PROTOCOL_ERROR = 0x82
    UNSUPPORTED_PROTOCOL_VERSION = 0x84
    TOPIC_NAME_INVALID = 0x90
    TOPIC_ALIAS_INVALID = 0x94
    PACKET_TOO_LARGE = 0x95


class MalformedPacket(PeerError):
    """The peer sent bytes that MQTT forbids. The connection must end with `reason_code`, nothing after them counts.

    `first` is the packet's first byte, or 0 where none is to be named; `offset` the position in it, where it is known.
    """

    def __init__(self, reason: Reason, first: int, detail: str, offset: int | None = None) -> None:
        kind = first >> 4
        self.reason_code = int(reason)
        self.packet_type = PacketType(kind).name if kind else "packet"
        self.detail = detail
        self.offset = offset
        where = "" if offset is None else f" (byte {offset} of the packet)"
        super().__init__(
            f"{self.packet_type}: {detail}{where}",
            hint="the other side, or something between, does not speak MQTT as specified: check host and port",
            reason_code=self.reason_code,
            packet_type=self.packet_type,
            offset=offset,
        )


class UnencodablePacket(UserError):
    """This packet cannot be said in this version of the protocol."""


@dataclass(slots=True)
class Known:
    """What one connection has sent before and was found valid. Bounded: no long keys, and a full table starts anew."""

    topics: dict[bytes, str] = field(default_factory=dict)
    """Topic names by their bytes."""
    sections: dict[bytes, bool] = field(default_factory=dict)
    """Property sections of PUBLISH by their bytes: whether a topic alias is among them."""

    def learn_topic(self, name: bytes, topic: str) -> None:
        """Keep a valid topic name."""
        _keep(self.topics, name, topic)

    def learn_section(self, section: bytes, *, has_alias: bool) -> None:
        """Keep a valid property section."""
        _keep(self.sections, section, has_alias)


def _keep(table: dict[bytes, _V], key: bytes, value: _V) -> None:
    if len(key) <= _KNOWN_KEY_BYTES:
        if len(table) >= _KNOWN_ENTRIES:
            table.clear()
        table[key] = value


def varint(data: bytes, at: int, stop: int) -> tuple[int, int]:
    """A Variable Byte Integer (§1.5.5) and the position after it; the value is -1 when `stop` comes first.

    Raises ValueError for more than four bytes or a longer form than needed.
    """
    value = shift = 0
    while at < stop:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if not byte and shift:
                raise ValueError("is not in its shortest form")
            return value, at
        shift += 7
        if shift > 21:
            raise ValueError("is longer than four bytes")
    return -1, at


def varint_bytes(value: int) -> bytes:
    """The Variable Byte Integer of a value below 2^28."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def frame_size(data: bytes, start: int) -> tuple[int, int]:
    """Remaining Length (-1: more bytes are needed) and size of the fixed header of the packet at `start`."""
    if start + 1 < len(data) and data[start + 1] < 0x80:
        return data[start + 1], 2
    try:
        length, body = varint(data, start + 1, len(data))
    except ValueError as error:
        raise MalformedPacket(Reason.MALFORMED_PACKET, data[start], f"the remaining length {error}", 1) from error
    return length, body - start


def section_bounds(data: bytes, start: int, at: int, stop: int) -> tuple[int, int]:
    """Where the properties begin and end whose length is at `at`, in the packet at `start`.

    An end beyond `stop` says how far to read before asking again, or that the packet has no room for them.
    """
    try:
        length, begin = varint(data, at, stop)
    except ValueError as error:
        detail = f"the property length {error}"
        raise MalformedPacket(Reason.MALFORMED_PACKET, data[start], detail, at - start) from error
    if length < 0:
        return begin, begin + 1
    if length > CONTROL_LIMIT:
        raise MalformedPacket(Reason.PACKET_TOO_LARGE, data[start], f"{length} bytes of properties", at - start)
    return begin, begin + length


def payload_start(data: bytes, start: int, header: int, stop: int, protocol: Protocol) -> int:
    """Where the payload of the PUBLISH at `start` begins, of which the bytes up to `stop` are here.

    A position beyond `stop` says how far to read before asking again, or that the packet has no room for its header.
    """
    body = start + header
    at = body + 2
    if at > stop:
        return at
    at += (data[body] << 8 | data[body + 1]) + (2 if data[start] & 0x06 else 0)
    return at if protocol is Protocol.V311 else section_bounds(data, start, at, stop)[1]


def publish_head(frame: bytes, header: int, known: Known) -> tuple[str, int]:
    """The topic of a PUBLISH and where the rest begins: the properties on MQTT 5, the payload on 3.1.1.

    Checks flags, packet identifier and topic name (§3.3.1, §3.3.2).
    """
    begin = header + 2
    if begin > len(frame):
        raise MalformedPacket(Reason.MALFORMED_PACKET, frame[0], "it ends before its topic", header)
    stop = end = begin + (frame[header] << 8 | frame[header + 1])
    flags = frame[0]
    if flags & 0x06:
        end += 2
    elif flags & 0x08:
        raise MalformedPacket(Reason.PROTOCOL_ERROR, flags, "DUP is set at QoS 0", 0)
    if end > len(frame):
        raise MalformedPacket(Reason.MALFORMED_PACKET, flags, "it ends before its topic does", header)
    if end > stop:
        if flags & 0x06 == 0x06:
            raise MalformedPacket(Reason.MALFORMED_PACKET, flags, "QoS 3", 0)
        if not (frame[stop + 1] or frame[stop]):
            raise MalformedPacket(Reason.PROTOCOL_ERROR, flags, "packet identifier 0", stop)
    topic = known.topics.get(frame[begin:stop])
    if topic is None:
        topic = _topic_name(frame, begin, stop)
        known.learn_topic(frame[begin:stop], topic)
    return topic, end


def connect_level(frame: bytes, header: int) -> Protocol:
    """The protocol that a CONNECT asks for (§3.1.2)."""
    if len(frame) < header + 10:
        raise MalformedPacket(Reason.MALFORMED_PACKET, frame[0], "it ends before its payload", header)
    name, level, flags = frame[header : header + 6], frame[header + 6], frame[header + 7]
    if name != b"\0\x04MQTT" or level not in (Protocol.V311, Protocol.V5):
        raise MalformedPacket(Reason.UNSUPPORTED_PROTOCOL_VERSION, frame[0], "neither MQTT 5 nor 3.1.1", header)
    if flags & 0x01:
        raise MalformedPacket(Reason.MALFORMED_PACKET, frame[0], "the reserved flag is set", header + 7)
    return Protocol(level)


def check_packet_id(frame: bytes, header: int) -> None:
    """No packet that carries a packet identifier carries 0 (§2.2.1)."""
    if frame[header : header + 2] == b"\0\0":
        raise MalformedPacket(Reason.PROTOCOL_ERROR, frame[0], "packet identifier 0", header)


def check_entries(frame: bytes, at: int, reserved_options: int) -> None:
    """The topic filters or reason codes from `at` to the end: at least one, strings valid, no reserved bit set."""
    kind = frame[0] >> 4
    if at == len(frame):
        raise MalformedPacket(Reason.PROTOCOL_ERROR, frame[0], "it has no entries", at)
    while at < len(frame) and kind in (PacketType.SUBSCRIBE, PacketType.UNSUBSCRIBE):
        at = text_end(frame, at, len(frame))
        if kind == PacketType.SUBSCRIBE:
            if at == len(frame):
                raise MalformedPacket(Reason.MALFORMED_PACKET, frame[0], "a topic filter without options", at)
            if frame[at] & reserved_options:
                raise MalformedPacket(Reason.MALFORMED_PACKET, frame[0], "a reserved bit is set", at)
            at += 1


def text_end(frame: bytes, at: int, stop: int) -> int:
    """Where the UTF-8 string at `at` ends (§1.5.4). Raises MalformedPacket if it is none or runs past `stop`."""
    end = binary_end(frame, at, stop)
    _decoded(frame, at + 2, end)
    return end


def binary_end(frame: bytes, at: int, stop: int) -> int:
    """Where the length-prefixed bytes at `at` end (§1.5.6). Raises MalformedPacket if they run past `stop`."""
    end = at + 2
    if end <= stop:
        end += frame[at] << 8 | frame[at + 1]
    if end > stop:
        raise MalformedPacket(Reason.MALFORMED_PACKET, frame[0], "a string runs past the end of its place", at)
    return end


def _topic_name(frame: bytes, begin: int, stop: int) -> str:
    topic = _decoded(frame, begin, stop)
    for wildcard in "+#":
        if wildcard in topic:
            offset = begin + frame[begin:stop].index(wildcard.encode())
            raise MalformedPacket(Reason.TOPIC_NAME_INVALID, frame[0], f"the topic name holds {wildcard}", offset)
    return topic


def _decoded(frame: bytes, begin: int, stop: int) -> str:
    try:
        text = frame[begin:stop].decode()
    except UnicodeDecodeError as error:
        offset = begin + error.start
        raise MalformedPacket(Reason.MALFORMED_PACKET, frame[0], "a string is not UTF-8", offset) from error
    if "\0" in text:
        offset = begin + frame[begin:stop].index(0)
        raise MalformedPacket(Reason.MALFORMED_PACKET, frame[0], "a string holds U+0000", offset)
    return text
