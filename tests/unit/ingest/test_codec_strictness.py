"""What MQTT forbids ends the connection with the reason code that the specification names."""

from __future__ import annotations

import re

import pytest

from ingest.codec import Decoder, MalformedPacket, Protocol, Reason, Role
from ingest.codec5 import parse

V5, V311 = Protocol.V5, Protocol.V311
BAD, ERROR, TOPIC, ALIAS, LARGE = (
    Reason.MALFORMED_PACKET,
    Reason.PROTOCOL_ERROR,
    Reason.TOPIC_NAME_INVALID,
    Reason.TOPIC_ALIAS_INVALID,
    Reason.PACKET_TOO_LARGE,
)


CONNECT = {V5: "10 0d 0004 4d515454 05 02 003c 00 0000", V311: "10 0c 0004 4d515454 04 02 003c 0000"}


def error_of(protocol: Protocol, text: str, role: Role = Role.CLIENT) -> MalformedPacket:
    """The error that a frame in hex gives, for a server after CONNECT; nothing may be decoded."""
    decoder = Decoder(protocol, 1000, role)
    if role is Role.SERVER:
        decoder.feed(bytes.fromhex(CONNECT[protocol]))
    assert decoder.feed(bytes.fromhex(text)) == []
    assert decoder.error is not None
    return decoder.error


PUBLISHES = [
    (V5, "36 07 0001 61 0001 00 62", BAD, "QoS 3", 0),
    (V5, "38 05 0001 61 00 62", ERROR, "DUP", 0),
    (V5, "32 07 0001 61 0000 00 62", ERROR, "packet identifier 0", 5),
    (V5, "30 06 0002 612b 00 62", TOPIC, "+", 5),
    (V5, "30 06 0002 2361 00 62", TOPIC, "#", 4),
    (V5, "30 06 0002 6100 00 62", BAD, "U+0000", 5),
    (V5, "30 06 0002 61ff 00 62", BAD, "not UTF-8", 5),
    (V5, "30 07 0003 eda080 00 62", BAD, "not UTF-8", 4),
    (V5, "30 04 0000 00 62", ERROR, "neither topic nor topic alias", 2),
    (V5, "30 06 0000 02 0101 62", ERROR, "neither topic nor topic alias", 2),
    (V5, "30 00", BAD, "ends before its topic", 2),
    (V5, "30 04 0003 6161", BAD, "ends before its topic does", 2),
    (V5, "32 04 0001 61 00", BAD, "ends before its topic does", 2),
    (V5, "30 03 0001 61", BAD, "ends before its properties", 5),
    (V5, "30 05 0001 61 02 01", BAD, "ends before its properties do", 5),
    (V5, "30 04 0001 61 80", BAD, "ends before its properties do", 5),
    (V5, "30 06 0001 61 8000 62", BAD, "property length is not in its shortest form", 5),
    (V5, "30 09 0001 61 8080808001 62", BAD, "property length is longer than four bytes", 5),
    (V5, "30 08 0001 61 01 01 01 62 63", BAD, "runs past the property length", 6),
    (V5, "30 09 0001 61 02 260001 0001 61", BAD, "runs past the end of its place", 7),
    (V5, "30 06 0001 61 02 0102", ERROR, "property 0x01 is above 1", 6),
    (V5, "30 08 0001 61 04 0101 0101", ERROR, "comes twice", 8),
    (V5, "30 07 0001 61 03 230000", ALIAS, "property 0x23 is 0", 6),
    (V5, "30 06 0001 61 02 0b00", ERROR, "property 0x0b is 0", 6),
    (V5, "30 07 0001 61 03 0b8100", BAD, "shortest form", 7),
    (V5, "30 06 0001 61 02 0b81", BAD, "runs past the property length", 6),
    (V5, "30 06 0001 61 02 7f00", BAD, "no property 0x7f", 6),
    (V5, "30 07 0001 61 03 210005", BAD, "Invalid property type", None),
    (V5, "30 0c 0001 61 08 26 0001 6b 0002 ff61", BAD, "not UTF-8", 12),
    (V5, "30 08 0001 61 04 03 0001 00", BAD, "U+0000", 9),
    (V311, "36 06 0001 61 0001 62", BAD, "QoS 3", 0),
    (V311, "38 04 0001 61 62", ERROR, "DUP", 0),
    (V311, "34 06 0001 61 0000 62", ERROR, "packet identifier 0", 5),
    (V311, "30 05 0002 612b 62", TOPIC, "+", 5),
    (V311, "30 05 0002 6100 62", BAD, "U+0000", 5),
    (V311, "30 05 0002 c328 62", BAD, "not UTF-8", 4),
    (V311, "30 03 0000 62", TOPIC, "no topic", 2),
    (V311, "30 01 00", BAD, "ends before its topic", 2),
    (V311, "32 04 0001 61 00", BAD, "ends before its topic does", 2),
]
OTHERS = [
    (V5, "20 03 02 00 00", BAD, "acknowledge flags", None),
    (V5, "21 02 00 01", BAD, "flags", None),
    (V5, "20 02 02 01", BAD, "acknowledge flags", None),
    (V5, "20 08 00 00 05 2700000000", ERROR, "property 0x27 is 0", 5),
    (V5, "20 06 00 00 03 210000", ERROR, "property 0x21 is 0", 5),
    (V5, "20 05 00 00 02 2403", ERROR, "property 0x24 is above 2", 5),
    (V5, "20 07 00 00 04 1f 0001 ff", BAD, "not UTF-8", 8),
    (V5, "20 07 00 00 03 1f 0001 61", BAD, "runs past", 6),
    (V5, "20 04 00 00 00 00", BAD, "remaining length", None),
    (V5, "40 02 0000", ERROR, "packet identifier 0", 2),
    (V5, "50 02 0000", ERROR, "packet identifier 0", 2),
    (V5, "62 02 0000", ERROR, "packet identifier 0", 2),
    (V5, "70 02 0000", ERROR, "packet identifier 0", 2),
    (V5, "60 02 0001", BAD, "flags", None),
    (V5, "41 02 0001", BAD, "flags", None),
    (V5, "40 03 0001 7f", BAD, "PubAckReasonCode", None),
    (V5, "40 01 01", BAD, "remaining length", None),
    (V5, "90 03 0001 00", ERROR, "no entries", 5),
    (V5, "90 04 0000 00 00", ERROR, "packet identifier 0", 2),
    (V5, "90 04 0001 00 03", BAD, "SubAckReasonCode", None),
    (V5, "b0 03 0001 00", ERROR, "no entries", 5),
    (V5, "b0 02 0001", BAD, "property length", None),
    (V5, "d1 00", BAD, "flags", None),
    (V5, "d0 01 00", BAD, "remaining length", None),
    (V5, "e0 01 7f", BAD, "DisconnectReasonCode", None),
    (V311, "20 02 00 06", BAD, "no return code 6", 3),
    (V311, "20 02 02 00", BAD, "flags", None),
    (V311, "20 03 00 00 00", BAD, "remaining length must be 2", 1),
    (V311, "40 03 0001 00", BAD, "remaining length must be 2", 1),
    (V311, "62 04 0001 00 00", BAD, "remaining length must be 2", 1),
    (V311, "40 02 0000", ERROR, "packet identifier 0", 2),
    (V311, "42 02 0001", BAD, "flags", None),
    (V311, "90 02 0001", ERROR, "no entries", 4),
    (V311, "90 01 00", BAD, "", None),
    (V311, "90 03 0001 87", BAD, "return code", 4),
    (V311, "b0 03 0001 00", BAD, "remaining length must be 2", 1),
    (V311, "d0 01 00", BAD, "remaining length must be 0", 1),
]
OUT_OF_PLACE = [
    *[(protocol, f"{kind:x}0 00") for protocol in (V5, V311) for kind in (1, 8, 10, 12, 15)],
    (V311, "e0 00"),
    (V5, "f0 02 18 00"),
]
FROM_CLIENTS = [
    (V5, "82 07 0001 00 0001 61 40", BAD, "reserved bit", 8),
    (V5, "82 07 0001 00 0001 ff 00", BAD, "not UTF-8", 7),
    (V5, "82 06 0001 00 0001 61", BAD, "without options", 8),
    (V5, "82 03 0001 00", ERROR, "no entries", 5),
    (V5, "a2 03 0001 00", ERROR, "no entries", 5),
    (V5, CONNECT[V5], ERROR, "not be sent here", 0),
    (V5, "20 03 00 00 00", ERROR, "not be sent here", 0),
    (V311, "82 06 0001 0001 61 04", BAD, "reserved bit", 7),
    (V311, "82 02 0001", ERROR, "no entries", 4),
    (V311, "e0 01 00", BAD, "remaining length must be 0", 1),
]
CONNECTS = [
    ("10 0d 0004 4d515454 05 03 003c 00 0000", BAD, "reserved flag"),
    ("10 0e 0004 4d515454 05 02 003c 00 0001 ff", BAD, "not UTF-8"),
    ("10 0c 0004 4d515454 03 02 003c 0000", Reason.UNSUPPORTED_PROTOCOL_VERSION, "neither"),
    ("10 0c 0004 4d515455 04 02 003c 0000", Reason.UNSUPPORTED_PROTOCOL_VERSION, "neither"),
    ("10 0f 0004 4d515454 04 42 003c 0000 0001 61", BAD, "password without"),
    ("10 05 0004 4d5154", BAD, "ends before"),
    ("30 05 0001 61 00 62", ERROR, "not be sent here"),
]


@pytest.mark.parametrize("protocol,text,reason,message,offset", [*PUBLISHES, *OTHERS])
def test_what_no_server_may_send_ends_the_connection(
    protocol: Protocol, text: str, reason: Reason, message: str, offset: int | None
) -> None:
    """The error names the packet, the fault, its place and the reason code for DISCONNECT."""
    error = error_of(protocol, text)
    assert (error.reason_code, error.offset) == (reason, offset)
    assert message in error.detail
    assert error.message.startswith(error.packet_type)


@pytest.mark.parametrize("protocol,text", OUT_OF_PLACE)
def test_packets_that_only_clients_send_are_protocol_errors(protocol: Protocol, text: str) -> None:
    """Nor is AUTH taken, which we never ask for, and DISCONNECT on 3.1.1: both at their first byte."""
    assert error_of(protocol, text).reason_code == ERROR


@pytest.mark.parametrize("protocol", [V5, V311])
def test_the_reserved_packet_type_is_malformed(protocol: Protocol) -> None:
    """Type 0 names no packet."""
    assert error_of(protocol, "00 00").reason_code == BAD


@pytest.mark.parametrize("protocol,text,reason,message,offset", FROM_CLIENTS)
def test_what_no_client_may_send_ends_the_connection(
    protocol: Protocol, text: str, reason: Reason, message: str, offset: int
) -> None:
    """A server is as strict."""
    error = error_of(protocol, text, Role.SERVER)
    assert (error.reason_code, error.offset) == (reason, offset)
    assert message in error.detail


@pytest.mark.parametrize("text,reason,message", CONNECTS)
def test_a_connection_begins_with_a_valid_connect(text: str, reason: Reason, message: str) -> None:
    """A server takes nothing before CONNECT and no CONNECT of another version."""
    decoder = Decoder(V5, 1000, Role.SERVER)
    assert decoder.feed(bytes.fromhex(text)) == []
    assert decoder.error is not None
    assert decoder.error.reason_code == reason
    assert message in decoder.error.detail


@pytest.mark.parametrize("protocol", [V5, V311])
@pytest.mark.parametrize("text", ["30 ffffffff 01", "30 8000", "90 80808080"])
def test_a_bad_remaining_length_is_malformed(protocol: Protocol, text: str) -> None:
    """More than four bytes, or a form that is longer than needed."""
    error = error_of(protocol, text)
    assert (error.reason_code, error.offset) == (BAD, 1)


@pytest.mark.parametrize("protocol", [V5, V311])
def test_only_publish_may_be_long(protocol: Protocol) -> None:
    """Over 1 MiB any other packet is refused at its length, before it is buffered."""
    error = error_of(protocol, "90 818040")
    assert (error.reason_code, error.offset) == (LARGE, 1)


def test_a_long_property_section_is_too_large() -> None:
    """Over 1 MiB of properties are refused at their length, whatever the limit for the payload is."""
    for limit in (10, 1 << 28):
        decoder = Decoder(V5, limit)
        head = bytes.fromhex("30 80808001 0001 61 818040")
        assert decoder.feed(head) == []
        decoder.feed(bytes((1 << 21) - 6))
        assert decoder.error is not None
        assert decoder.error.reason_code == LARGE


@pytest.mark.parametrize(
    "good,bad",
    [
        ("30 05 0001 61 00 62", "38 05 0001 61 00 62"),
        ("32 07 0001 61 0001 00 62", "32 07 0001 61 0000 00 62"),
        ("32 07 0001 61 0001 00 62", "36 07 0001 61 0001 00 62"),
        ("30 07 0001 61 02 0101 62", "30 07 0001 61 01 0101 62"),
        ("30 07 0001 61 02 0101 62", "30 07 0001 61 02 0102 62"),
        ("30 07 0001 61 02 0101 62", "30 05 0001 61 02 01"),
        ("30 07 0000 03 230001 62", "30 04 0000 00 62"),
    ],
)
def test_known_topics_and_properties_excuse_nothing(good: str, bad: str) -> None:
    """The short way for what was seen before lets no fault pass."""
    decoder = Decoder(V5, 1000)
    assert len(decoder.feed(bytes.fromhex(good) * 2)) == 2
    assert decoder.feed(bytes.fromhex(bad)) == []
    assert decoder.error is not None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_panic_of_the_parser_is_a_malformed_packet() -> None:
    """Should a check ever miss what makes the parser panic, the connection ends and not the process."""
    with pytest.raises(MalformedPacket, match=re.escape("PUBLISH: the parser gave it up")) as caught:
        parse(bytes.fromhex("30 05 0001 ff 00 62"))
    assert caught.value.reason_code == BAD


def test_an_interrupt_is_not_taken_for_a_panic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the parser's panic is translated."""

    def interrupted(_: bytes) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ingest.codec5.read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        parse(bytes.fromhex("d0 00"))
