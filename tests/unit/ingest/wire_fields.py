"""Packets of a server spelled out field by field, and what a change of each field may come to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from ingest.codec import Protocol, Reason
from ingest.codec_framing import varint_bytes

Outcome = Literal["handled", "waits", "over"] | Reason
"""A packet was handled; its end is awaited; the broker has ended the connection; we have, for this reason."""

BAD, ERROR, TOPIC, ALIAS = (
    Reason.MALFORMED_PACKET,
    Reason.PROTOCOL_ERROR,
    Reason.TOPIC_NAME_INVALID,
    Reason.TOPIC_ALIAS_INVALID,
)
ANYTHING: frozenset[Outcome] = frozenset({"handled", "waits", "over", *Reason})

ALLOWED: dict[str, frozenset[Outcome]] = {
    "first byte": ANYTHING,
    "remaining length": ANYTHING,
    "acknowledge flags": frozenset({"handled", BAD, ERROR}),
    "reason code": frozenset({"handled", BAD}),
    "last word": frozenset({"handled", "over", BAD}),
    "packet identifier": frozenset({"handled", ERROR}),
    "topic": frozenset({"handled", BAD, TOPIC}),
    "payload": frozenset({"handled"}),
    "property length": frozenset({"handled", "over", BAD, ERROR, TOPIC, ALIAS}),
    "property": frozenset({"handled", "over", BAD, ERROR, ALIAS}),
    "number": frozenset({"handled", "over", ERROR, ALIAS}),
    "variable number": frozenset({"handled", BAD, ERROR}),
    "length": frozenset({"handled", "over", BAD, ERROR, TOPIC, ALIAS}),
    "text": frozenset({"handled", "over", BAD}),
    "bytes": frozenset({"handled", "over"}),
    "unwanted": frozenset({ERROR}),
}
"""By the name of a field: what a packet may come to whose field was changed. Lengths move what stands behind them."""


class Field(NamedTuple):
    """Bytes of a packet and what they are."""

    name: str
    data: bytes


Fields = list[Field]


class Wire(NamedTuple):
    """A packet as it comes from a server, and what becomes of it as it is."""

    name: str
    protocol: Protocol
    fields: Fields
    outcome: Outcome = "handled"

    @property
    def data(self) -> bytes:
        """The packet."""
        return b"".join(field.data for field in self.fields)

    @property
    def body(self) -> bytes:
        """The packet without its fixed header."""
        return b"".join(field.data for field in self.fields[2:])

    def field_of(self, position: int) -> str:
        """The name of the field that the byte belongs to."""
        for field in self.fields:
            if position < len(field.data):
                return field.name
            position -= len(field.data)
        raise IndexError(position)


def framed(first: int, *fields: Iterable[Field]) -> Fields:
    """A packet of these fields."""
    body = [field for group in fields for field in group]
    length = varint_bytes(sum(len(field.data) for field in body))
    return [Field("first byte", bytes((first,))), Field("remaining length", length), *body]


def one(name: str, text: str) -> Fields:
    """A field in hex."""
    return [Field(name, bytes.fromhex(text))]


def string(name: str, text: str) -> Fields:
    """A string with its length."""
    data = text.encode()
    return [Field("length", len(data).to_bytes(2, "big")), Field(name, data)]


def properties(*each: Iterable[Field]) -> Fields:
    """A property section."""
    body = [field for group in each for field in group]
    return [Field("property length", varint_bytes(sum(len(field.data) for field in body))), *body]


def number(identifier: int, value: int, size: int) -> Fields:
    """A property of so many bytes."""
    return [Field("property", bytes((identifier,))), Field("number", value.to_bytes(size, "big"))]


def variable(identifier: int, value: int) -> Fields:
    """A property that is a Variable Byte Integer."""
    return [Field("property", bytes((identifier,))), Field("variable number", varint_bytes(value))]


def text(identifier: int, *values: str) -> Fields:
    """A property of one string, or of two."""
    strings = [field for value in values for field in string("text", value)]
    return [Field("property", bytes((identifier,))), *strings]


def binary(identifier: int, value: bytes) -> Fields:
    """A property of any bytes."""
    length = Field("length", len(value).to_bytes(2, "big"))
    return [Field("property", bytes((identifier,))), length, Field("bytes", value)]


_EXPLAINED = [*text(0x1F, "ü"), *text(0x26, "k", "v")]
_PUBLISH = properties(
    number(0x01, 1, 1),
    number(0x02, 3600, 4),
    number(0x23, 3, 2),
    text(0x08, "r/t"),
    binary(0x09, b"\x00\xff"),
    variable(0x0B, 300),
    text(0x26, "k", "v"),
    text(0x26, "k", "ü"),
    text(0x03, "t"),
)
_CONNACK = properties(
    number(0x11, 600, 4),
    number(0x21, 20, 2),
    number(0x24, 1, 1),
    number(0x25, 1, 1),
    number(0x27, 1 << 20, 4),
    text(0x12, "id"),
    number(0x22, 10, 2),
    _EXPLAINED,
    number(0x28, 1, 1),
    number(0x29, 1, 1),
    number(0x2A, 1, 1),
    number(0x13, 60, 2),
    text(0x1A, "i"),
    text(0x1C, "s"),
    text(0x15, "m"),
    binary(0x16, b"\xfe"),
)
_TOPIC = string("topic", "demo/hellö")
_ID = one("packet identifier", "0007")
_FIRST_ID = one("packet identifier", "0001")
_LATER_ID = one("packet identifier", "0005")
_LAST_ID = one("packet identifier", "0007")
_BODY = one("payload", "00ff7b")
_V5, _V311 = Protocol.V5, Protocol.V311

WIRES = [
    Wire("CONNACK", _V5, framed(0x20, one("acknowledge flags", "00"), one("last word", "00"), _CONNACK)),
    Wire("PUBLISH 0", _V5, framed(0x31, _TOPIC, _PUBLISH, _BODY)),
    Wire("PUBLISH 1", _V5, framed(0x32, _TOPIC, _ID, _PUBLISH, _BODY)),
    Wire("PUBLISH 2", _V5, framed(0x3C, _TOPIC, _ID, _PUBLISH, _BODY)),
    Wire("PUBREL", _V5, framed(0x62, _ID, one("reason code", "92"), properties(_EXPLAINED))),
    Wire("SUBACK", _V5, framed(0x90, _FIRST_ID, properties(_EXPLAINED), one("reason code", "02"))),
    Wire("UNSUBACK", _V5, framed(0xB0, _LAST_ID, properties(_EXPLAINED), one("reason code", "11"))),
    Wire("PINGRESP", _V5, framed(0xD0)),
    Wire("DISCONNECT", _V5, framed(0xE0, one("last word", "8b"), properties(text(0x1C, "s"), _EXPLAINED)), "over"),
    Wire("AUTH", _V5, framed(0xF0, one("unwanted", "18"), one("unwanted", "0415 000161")), ERROR),
    Wire("CONNACK", _V311, framed(0x20, one("acknowledge flags", "00"), one("last word", "00"))),
    Wire("PUBLISH 0", _V311, framed(0x31, _TOPIC, _BODY)),
    Wire("PUBLISH 1", _V311, framed(0x32, _TOPIC, _ID, _BODY)),
    Wire("PUBLISH 2", _V311, framed(0x3C, _TOPIC, _ID, _BODY)),
    Wire("PUBREL", _V311, framed(0x62, _ID)),
    Wire("SUBACK", _V311, framed(0x90, _FIRST_ID, one("reason code", "02"))),
    Wire("UNSUBACK", _V311, framed(0xB0, _LATER_ID)),
    Wire("PINGRESP", _V311, framed(0xD0)),
    Wire("DISCONNECT", _V311, framed(0xE0), ERROR),
]
"""Every packet that a server may send, with every property it may have."""
