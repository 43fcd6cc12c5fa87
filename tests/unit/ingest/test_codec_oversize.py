"""A payload over the limit streams through; a digest tells whether a message was sent again."""

from __future__ import annotations

import hashlib
import tracemalloc

import pytest

from ingest.codec import (
    HEAD_BYTES,
    Decoder,
    Inbound,
    OversizedPublish,
    Packet,
    PingRespPacket,
    Protocol,
    PublishPacket,
    QoS,
    encode,
    publish_digest,
)

V5, V311 = Protocol.V5, Protocol.V311
Q1 = QoS.AT_LEAST_ONCE


def fed(decoder: Decoder, stream: bytes, size: int) -> list[Inbound]:
    """What the stream decodes to, fed in pieces of this size."""
    pieces = (stream[at : at + size] for at in range(0, len(stream), size))
    packets = [packet for piece in pieces for packet in decoder.feed(piece)]
    assert decoder.error is None
    return packets


def publish(payload: bytes, protocol: Protocol) -> PublishPacket:
    """A PUBLISH with everything that its protocol can carry around this payload."""
    plain = PublishPacket("a/b", payload, qos=Q1, packet_id=7, retain=True, duplicate=True)
    if protocol is V311:
        return plain
    return PublishPacket(
        "a/b",
        payload,
        qos=Q1,
        packet_id=7,
        retain=True,
        duplicate=True,
        topic_alias=3,
        content_type="text/plain",
        user_properties=[("k", "v" * 200)],
    )


@pytest.mark.parametrize("protocol", [V5, V311])
@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
def test_an_oversized_payload_is_digested_in_its_place_among_the_packets(protocol: Protocol, size: int) -> None:
    """It comes with its last byte, with header and properties, size, digest and beginning of the payload."""
    payload = bytes(range(256)) * 4
    small = PublishPacket("a/b", b"x" * 100)
    packets: list[Packet] = [
        small,
        publish(payload, protocol),
        small,
        publish(payload[::-1], protocol),
        PingRespPacket(),
    ]
    stream = b"".join(encode(packet, protocol) for packet in packets)
    received = fed(Decoder(protocol, 100), stream, size)
    assert len(received) == len(packets)
    for packet, expected in ((received[1], payload), (received[3], payload[::-1])):
        assert packet == OversizedPublish(
            publish(b"", protocol), 1024, hashlib.blake2b(expected, digest_size=8).digest(), expected
        )
    assert [received[0], received[2], received[4]] == [small, small, PingRespPacket()]


def test_an_oversized_publish_speaks_like_a_publish() -> None:
    """Topic, QoS, packet identifier and flags are at hand."""
    [packet] = Decoder(V5, 0).feed(encode(publish(b"x", V5), V5))
    assert isinstance(packet, OversizedPublish)
    assert (packet.topic, packet.qos, packet.packet_id) == ("a/b", Q1, 7)
    assert (packet.retain, packet.duplicate) == (True, True)


@pytest.mark.parametrize("protocol", [V5, V311])
@pytest.mark.parametrize("size", [1, 1 << 16])
def test_the_limit_is_on_the_payload_alone(protocol: Protocol, size: int) -> None:
    """A payload of exactly the limit is a packet, however long the header is; one byte more is not."""
    [packet] = fed(Decoder(protocol, 500), encode(publish(bytes(500), protocol), protocol), size)
    assert packet == publish(bytes(500), protocol)
    [packet] = fed(Decoder(protocol, 500), encode(publish(bytes(501), protocol), protocol), size)
    assert isinstance(packet, OversizedPublish)


def test_no_more_than_the_head_of_a_payload_is_kept() -> None:
    """64 KiB of it, exactly."""
    payload = bytes(range(256)) * 1000
    [packet] = fed(Decoder(V311, 1000), encode(PublishPacket("a", payload), V311), 1000)
    assert isinstance(packet, OversizedPublish)
    assert packet.head == payload[:HEAD_BYTES]
    assert packet.size == len(payload)


def test_the_largest_packet_there_is_streams_through_in_bounded_memory() -> None:
    """256 MiB less one byte, in pieces of 64 KiB, within a megabyte."""
    piece = bytes(1 << 16)
    decoder = Decoder(V5, 1 << 20)
    tracemalloc.start()
    try:
        assert decoder.feed(bytes.fromhex("30 ffffff7f 0001 61 00")) == []
        missing = (1 << 28) - 1 - 4
        while missing > len(piece):
            assert decoder.feed(piece) == []
            missing -= len(piece)
        [packet] = decoder.feed(piece[:missing])
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert isinstance(packet, OversizedPublish)
    assert packet.size == (1 << 28) - 5


def test_a_malformed_oversized_publish_is_refused_at_its_header() -> None:
    """Nothing of its payload is waited for."""
    decoder = Decoder(V5, 100)
    decoder.feed(bytes.fromhex("30 ffffff7f 0001 23 00"))
    assert decoder.error is not None
    assert decoder.error.reason_code == 0x90


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("limit", [0, 5, 100])
def test_a_fault_in_a_large_header_is_found_however_cut(size: int, limit: int) -> None:
    """A property length in a longer form than needed, in a packet that is as yet incomplete or whole."""
    stream = bytes.fromhex("30 0a 0001 61 82ac00 00000000")
    decoder = Decoder(V5, limit)
    for at in range(0, len(stream), size):
        assert decoder.feed(stream[at : at + size]) == []
    assert decoder.error is not None
    assert (decoder.error.reason_code, decoder.error.offset) == (0x81, 5)


def test_a_large_packet_in_tiny_pieces_is_decoded_once() -> None:
    """A header of 64 KiB and properties, byte by byte, up to a payload of the limit."""
    packet = PublishPacket("t" * 65535, b"x" * 70_000, user_properties=[("k", "v" * 65535)])
    assert fed(Decoder(V5, 70_000), encode(packet, V5), 1) == [packet]


MESSAGE = PublishPacket(
    "a/b",
    b"payload",
    payload_format_indicator=1,
    content_type="t",
    response_topic="r",
    correlation_data=b"c",
    user_properties=[("k", "v")],
)


def test_what_differs_between_two_sendings_is_not_in_the_digest() -> None:
    """DUP, packet identifier, expiry, topic alias, subscription identifiers, QoS flags."""
    again = PublishPacket(
        "a/b",
        b"payload",
        qos=Q1,
        packet_id=9,
        duplicate=True,
        message_expiry_interval=5,
        topic_alias=3,
        subscription_ids=[4, 5],
        payload_format_indicator=1,
        content_type="t",
        response_topic="r",
        correlation_data=b"c",
        user_properties=[("k", "v")],
    )
    assert publish_digest(MESSAGE) == publish_digest(again)
    assert len(publish_digest(MESSAGE)) == 8


def test_a_topic_alias_gives_the_digest_of_its_topic() -> None:
    """The full topic stands in for the empty one."""
    aliased = PublishPacket("", b"payload", topic_alias=3)
    assert publish_digest(aliased, "a/b") == publish_digest(PublishPacket("a/b", b"payload"))


def test_different_messages_have_different_digests() -> None:
    """Each lasting field counts, and no two fields run into each other."""
    messages = [
        MESSAGE,
        PublishPacket("a/b", b"payload"),
        PublishPacket("a/bp", b"ayload"),
        PublishPacket("a/b", b"payload", payload_format_indicator=1),
        PublishPacket("a/b", b"payload", content_type=""),
        PublishPacket("a/b", b"payload", content_type="x"),
        PublishPacket("a/b", b"payload", response_topic="x"),
        PublishPacket("a/b", b"payload", correlation_data=b"x"),
        PublishPacket("a/b", b"payload", correlation_data=b""),
        PublishPacket("a/b", b"payload", user_properties=[("x", "")]),
        PublishPacket("a/b", b"payload", user_properties=[("", "x")]),
        PublishPacket("a/b", b"payload", user_properties=[("a", "b"), ("c", "d")]),
        PublishPacket("a/b", b"payload", user_properties=[("c", "d"), ("a", "b")]),
    ]
    assert len({publish_digest(message) for message in messages}) == len(messages)


@pytest.mark.parametrize("size", [1, HEAD_BYTES, HEAD_BYTES + 1, 3 * HEAD_BYTES])
def test_a_message_has_one_digest_whether_it_was_kept_or_not(size: int) -> None:
    """A limit that changes between two sendings does not make one message two."""
    packet = PublishPacket("a/b", bytes(range(256)) * (size // 256) + b"x" * (size % 256), content_type="t")
    [oversized] = Decoder(V5, 0).feed(encode(packet, V5))
    assert isinstance(oversized, OversizedPublish)
    assert publish_digest(oversized) == publish_digest(packet)
