"""Every byte of every packet of a server, changed and cut: it is handled, or the connection ends with its reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from ingest.codec import (
    ConnAckPacket,
    Decoder,
    DisconnectPacket,
    Inbound,
    Protocol,
    Reason,
    SubAckPacket,
    SubAckReasonCode,
    SubscribePacket,
    UnsubscribePacket,
)
from ingest.codec_framing import varint_bytes
from ingest.session_events import Admit, Closed, Malformed
from ingest.session_states import State
from shared.definitions import Topic
from shared.envelope import decode_envelope
from tests.support.factories import make_trigger
from tests.unit.ingest.session_driver import Driver, publish
from tests.unit.ingest.wire_fields import ALLOWED, BAD, ERROR, WIRES, Outcome, Wire

MAX_PAYLOAD = 1000
FROM_SERVER = {
    Protocol.V5: (2, 3, 4, 5, 6, 7, 9, 11, 13, 14),
    Protocol.V311: (2, 3, 4, 5, 6, 7, 9, 11, 13),
}
CONTENT = {"number", "text", "bytes", "payload", "packet identifier", "unwanted"}
FORMS = {"topic", "length", "property", "property length", "variable number"}
TELLING = {0x00, 0x01, 0x02, 0x03, 0x7F, 0x80, 0xBF, 0xC0, 0xC3, 0xE0, 0xED, 0xEF, 0xF4, 0xF5, 0xFE, 0xFF}
"""Bytes that make or break a number or UTF-8."""
LOW = set(range(0x40))
"""All properties there are, all lengths that have room, and the wildcards."""
each_wire = pytest.mark.parametrize("wire", WIRES, ids=lambda wire: f"{wire.name} {wire.protocol.name}")


def prepared(wire: Wire) -> Driver:
    """A session in the state in which such a packet comes."""
    topics = [Topic("demo/#", 2), *([Topic("other", 0)] if wire.name == "UNSUBACK" else [])]
    driver = Driver(*topics, protocol=wire.protocol, topic_alias_maximum=10)
    driver.connect()
    if wire.name == "CONNACK":
        return driver
    driver.feed(ConnAckPacket())
    driver.store()
    if wire.name == "SUBACK":
        return driver
    driver.grant()
    if wire.name == "UNSUBACK":
        driver.session.change_subscriptions(make_trigger(topics[0]), "another")
        driver.store()
        unsubscribe = last_of(driver)
        assert isinstance(unsubscribe, UnsubscribePacket)
        assert wire.body.startswith(unsubscribe.packet_id.to_bytes(2, "big"))
    if wire.name == "PUBREL":
        driver.feed(publish(qos=2))
    driver.store()
    return driver


def last_of(driver: Driver) -> Inbound:
    """The last packet that is sent when each SUBSCRIBE is answered."""
    (asked,) = driver.sent()
    if isinstance(asked, SubscribePacket):
        driver.feed(SubAckPacket(asked.packet_id, [SubAckReasonCode.GRANTED_QOS_EXACTLY_ONCE]))
        driver.store()
        (asked,) = driver.sent()
    return asked


def is_closed(driver: Driver) -> bool:
    """Whether the connection is over."""
    return driver.session.state is State.CLOSED


def receive(driver: Driver, decoder: Decoder, data: bytes) -> list[Inbound]:
    """Bytes come as they do on a connection; the packets in them."""
    packets = decoder.feed(data)
    driver.session.receive(packets, driver.now_ms)
    if decoder.error is not None:
        driver.session.malformed(decoder.error)
    for request in driver.store():
        if isinstance(request, Admit):
            for envelope in request.batch.envelopes:
                decode_envelope(envelope)
    return packets


def outcome_of(wire: Wire, *pieces: bytes) -> Outcome:
    """What the bytes come to. The connection breaks afterwards, which ends it whatever came before."""
    driver, decoder = prepared(wire), Decoder(wire.protocol, MAX_PAYLOAD)
    driver.writes()
    driver.session.take_events()
    packets = [packet for piece in pieces for packet in receive(driver, decoder, piece)]
    sent, malformed = driver.sent(), driver.events(Malformed)
    said = [packet.reason_code for packet in sent if isinstance(packet, DisconnectPacket)]
    if is_closed(driver):
        assert len(driver.events(Closed)) == 1
        assert said == [each.reason_code for each in malformed if wire.protocol is Protocol.V5]
        return Reason(malformed[0].reason_code) if malformed else "over"
    assert not said
    assert not malformed
    driver.session.tick(driver.now_ms + 1000)
    driver.session.connection_lost("cut")
    driver.store()
    assert is_closed(driver)
    return "handled" if packets else "waits"


def replacements(field: str, was: int) -> Iterable[int]:
    """Other values for a byte: all there are, or of those that come to the same some."""
    if field in CONTENT | FORMS:
        return TELLING | {was ^ 1 << bit for bit in range(8)} | (LOW if field in FORMS else set())
    return range(256)


def changed(wire: Wire) -> Iterator[tuple[int, int, bytes]]:
    """The packet with one byte replaced: position, byte, packet."""
    data = wire.data
    for position, was in enumerate(data):
        for byte in replacements(wire.field_of(position), was):
            yield position, byte, data[:position] + bytes((byte,)) + data[position + 1 :]


@each_wire
def test_the_packet_itself(wire: Wire) -> None:
    """In one piece, and byte by byte."""
    assert outcome_of(wire, wire.data) == wire.outcome
    assert outcome_of(wire, *(bytes((byte,)) for byte in wire.data)) == wire.outcome


@each_wire
def test_any_byte_changed_is_handled_or_ends_the_connection_with_its_reason(wire: Wire) -> None:
    """Which reasons there can be depends on the field."""
    for position, byte, data in changed(wire):
        field = wire.field_of(position)
        outcome = outcome_of(wire, data)
        assert outcome in ALLOWED[field], f"byte {position} ({field}) as 0x{byte:02x}: {data.hex(' ')}"


@each_wire
def test_the_first_byte_is_judged_before_all_others(wire: Wire) -> None:
    """A type that does not exist is malformed, one that no server sends a protocol error."""
    for first in range(256):
        outcome = outcome_of(wire, bytes((first,)) + wire.data[1:])
        if first < 0x10:
            assert outcome is BAD
        elif first >> 4 not in FROM_SERVER[wire.protocol]:
            assert outcome is ERROR


@each_wire
def test_a_packet_that_is_cut_off_is_waited_for(wire: Wire) -> None:
    """Its first bytes change nothing, wherever the connection breaks; the rest completes it."""
    for length in range(1, len(wire.data)):
        if wire.outcome != ERROR:
            assert outcome_of(wire, wire.data[:length]) == "waits"
        assert outcome_of(wire, wire.data[:length], wire.data[length:]) == wire.outcome


@each_wire
def test_a_packet_that_says_to_be_shorter_is_judged_by_what_it_has(wire: Wire) -> None:
    """Short forms are legal, whatever else is missing makes it malformed."""
    for length in range(len(wire.body)):
        data = wire.data[:1] + varint_bytes(length) + wire.body[:length]
        assert outcome_of(wire, data) in {"handled", "over", BAD, ERROR}, data.hex(" ")
