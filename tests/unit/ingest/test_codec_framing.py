"""Frames however cut and however damaged, over one packet of each kind and form in both protocol versions."""

from __future__ import annotations

import re

import pytest

from ingest.codec import Decoder, Inbound, Protocol, PubAckPacket, PublishPacket, Role, encode

V5, V311 = Protocol.V5, Protocol.V311
MAX_PAYLOAD = 1000

CONNECT_5 = "10 00 0004 4d515454 05 02 003c [1100000e10] 0002 6964"
CONNECT_311 = "10 0e 0004 4d515454 04 02 003c 0002 6964"

PROPERTIES = "0101 02 0000003c 03 0001 74 08 0003 722f74 09 0002 ff00 0b 8101 23 0004 26 0001 6b 0002 c3bc 26 0000 0000"

FROM_SERVER: dict[str, tuple[Protocol, str]] = {
    "CONNACK": (V5, "20 03 01 00 00"),
    "CONNACK with properties": (V5, "20 00 00 00 [210014 22000a 2500 13001e 12 0003 616263 27 00010000]"),
    "CONNACK of a 3.1.1 server": (V5, "20 02 00 01"),
    "PUBLISH QoS 0": (V5, "30 08 0003 612f62 00 6869"),
    "PUBLISH QoS 1 retained": (V5, "33 0a 0003 612f62 0007 00 6869"),
    "PUBLISH QoS 2 again": (V5, "3c 08 0003 612f62 0007 00"),
    "PUBLISH in UTF-8": (V5, "30 0a 0006 c3bc2fe282ac 00 68"),
    "PUBLISH with properties": (V5, f"32 00 0003 612f62 8005 [{PROPERTIES}] 6869"),
    "PUBLISH by alias": (V5, "30 00 0000 [230004] 68"),
    "PUBACK": (V5, "40 02 0007"),
    "PUBREC": (V5, "50 02 0007"),
    "PUBREC with reason": (V5, "50 03 0007 91"),
    "PUBREL": (V5, "62 02 0007"),
    "PUBCOMP with properties": (V5, "70 00 0007 92 [1f 0002 6e6f]"),
    "SUBACK": (V5, "90 05 0007 00 02 87"),
    "UNSUBACK": (V5, "b0 05 0007 00 00 11"),
    "PINGRESP": (V5, "d0 00"),
    "DISCONNECT": (V5, "e0 00"),
    "DISCONNECT with properties": (V5, "e0 00 9d [1c 0003 61623a]"),
    "CONNACK 3.1.1": (V311, "20 02 01 00"),
    "PUBLISH 3.1.1 QoS 0": (V311, "30 07 0003 612f62 6869"),
    "PUBLISH 3.1.1 QoS 2": (V311, "3d 09 0003 612f62 0107 6869"),
    "PUBACK 3.1.1": (V311, "40 02 0007"),
    "PUBREC 3.1.1": (V311, "50 02 0007"),
    "PUBREL 3.1.1": (V311, "62 02 0007"),
    "PUBCOMP 3.1.1": (V311, "70 02 0007"),
    "SUBACK 3.1.1": (V311, "90 05 0007 00 02 80"),
    "UNSUBACK 3.1.1": (V311, "b0 02 0007"),
    "PINGRESP 3.1.1": (V311, "d0 00"),
}
FROM_CLIENT: dict[str, tuple[Protocol, str]] = {
    "CONNECT": (V5, CONNECT_5),
    "SUBSCRIBE": (V5, "82 00 0007 [0b05] 0001 61 2e"),
    "UNSUBSCRIBE": (V5, "a2 09 0007 00 0001 61 0001 23"),
    "PINGREQ": (V5, "c0 00"),
    "DISCONNECT": (V5, "e0 00"),
    "PUBLISH": (V5, "32 08 0001 61 0007 00 6869"),
    "CONNECT 3.1.1": (V311, CONNECT_311),
    "CONNECT 3.1.1 with all": (
        V311,
        "10 23 0004 4d515454 04 ee 003c 0002 6964 0001 77 0003 627965 0004 75736572 0003 707764",
    ),
    "SUBSCRIBE 3.1.1": (V311, "82 0a 0007 0001 61 01 0001 62 02"),
    "UNSUBSCRIBE 3.1.1": (V311, "a2 05 0007 0001 61"),
    "DISCONNECT 3.1.1": (V311, "e0 00"),
}


def frame_of(text: str) -> bytes:
    """The bytes of a frame in hex. Brackets hold properties; their length and the remaining length are filled in."""

    def section(properties: re.Match[str]) -> str:
        raw = bytes.fromhex(properties[1])
        return f"{len(raw):02x} {raw.hex()}"

    raw = bytes.fromhex(re.sub(r"\[(.*?)\]", section, text))
    return raw[:1] + bytes((len(raw) - 2,)) + raw[2:]


CASES = [
    *[pytest.param(protocol, Role.CLIENT, frame_of(text), id=name) for name, (protocol, text) in FROM_SERVER.items()],
    *[
        pytest.param(protocol, Role.SERVER, frame_of(text), id=f"client's {name}")
        for name, (protocol, text) in FROM_CLIENT.items()
    ],
]


def decoder_for(protocol: Protocol, role: Role, frame: bytes) -> Decoder:
    """A decoder that may get this frame next: a server's has had its CONNECT."""
    decoder = Decoder(protocol, MAX_PAYLOAD, role)
    if role is Role.SERVER and frame[0] >> 4 != 1:
        decoder.feed(frame_of(CONNECT_5 if protocol is V5 else CONNECT_311))
    return decoder


def whole(protocol: Protocol, role: Role, frame: bytes) -> list[Inbound]:
    """What the frame decodes to at once."""
    decoder = decoder_for(protocol, role, frame)
    packets = decoder.feed(frame)
    assert decoder.error is None
    return packets


@pytest.mark.parametrize("protocol,role,frame", CASES)
def test_a_whole_packet_is_one_packet(protocol: Protocol, role: Role, frame: bytes) -> None:
    """Every packet of the corpus is legal."""
    assert len(whole(protocol, role, frame)) == 1


@pytest.mark.parametrize("protocol,role,frame", CASES)
def test_every_proper_prefix_waits_and_then_completes(protocol: Protocol, role: Role, frame: bytes) -> None:
    """A cut packet is no packet and no error; the rest completes it."""
    expected = whole(protocol, role, frame)
    for cut in range(len(frame)):
        decoder = decoder_for(protocol, role, frame)
        assert decoder.feed(frame[:cut]) == []
        assert decoder.error is None
        assert decoder.feed(frame[cut:]) == expected


@pytest.mark.parametrize("protocol,role,frame", CASES)
def test_byte_by_byte_is_the_same_as_at_once(protocol: Protocol, role: Role, frame: bytes) -> None:
    """The packet comes with its last byte, and the decoder is ready for the next."""
    decoder = decoder_for(protocol, role, frame)
    expected = whole(protocol, role, frame)
    rounds = 1 if frame[0] >> 4 == 1 else 3
    for _ in range(rounds):
        packets = [packet for byte in frame for packet in decoder.feed(bytes((byte,)))]
        assert packets == expected


@pytest.mark.parametrize("protocol", [V5, V311])
def test_all_packets_in_one_read_come_in_order(protocol: Protocol) -> None:
    """A read of many packets, also when it ends inside one, is each of them in order."""
    frames = [frame_of(text) for p, text in FROM_SERVER.values() if p is protocol]
    expected = [packet for frame in frames for packet in whole(protocol, Role.CLIENT, frame)]
    stream = b"".join(frames)
    for size in (1, 3, 7, 50, len(stream)):
        decoder = Decoder(protocol, MAX_PAYLOAD)
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
        assert [packet for piece in pieces for packet in decoder.feed(piece)] == expected


@pytest.mark.parametrize("protocol,role,frame", CASES)
def test_no_byte_at_any_position_raises_or_reads_past_the_packet(protocol: Protocol, role: Role, frame: bytes) -> None:
    """Each byte of each packet, set to each value: packets, an error, or waiting for more, and nothing else.

    What follows a damaged packet changes nothing about it, and comes itself if the damage left a whole packet.
    """
    follower = frame_of("40 02 7777")
    for position in range(len(frame)):
        for value in range(256):
            damaged = frame[:position] + bytes((value,)) + frame[position + 1 :]
            alone, followed = decoder_for(protocol, role, frame), decoder_for(protocol, role, frame)
            packets, more = alone.feed(damaged), followed.feed(damaged + follower)
            if alone.error is not None:
                assert alone.error.reason_code in {0x81, 0x82, 0x84, 0x90, 0x94, 0x95}
                assert (more, str(followed.error)) == (packets, str(alone.error))
            elif not alone._tail:
                assert more == [*packets, PubAckPacket(0x7777)]


def test_nothing_from_a_server_makes_the_parser_panic(capfd: pytest.CaptureFixture[str]) -> None:
    """Ill-formed UTF-8 in any place is found before the parser sees it: it would print its panic."""
    for protocol, text in FROM_SERVER.values():
        frame = frame_of(text)
        for position in range(2, len(frame)):
            for value in (0x80, 0xC0, 0xED, 0xFF):
                Decoder(protocol, MAX_PAYLOAD).feed(frame[:position] + bytes((value,)) + frame[position + 1 :])
    assert capfd.readouterr().err == ""


def test_packets_before_a_malformed_one_are_returned() -> None:
    """The good ones come, then the error is set, and nothing is accepted any more."""
    good = frame_of("32 08 0001 61 0007 00 68")
    decoder = Decoder(V5, MAX_PAYLOAD)
    assert len(decoder.feed(good + good + bytes.fromhex("f000") + good)) == 2
    assert decoder.error is not None
    assert decoder.error.packet_type == "AUTH"
    assert decoder.feed(good) == []


@pytest.mark.parametrize("protocol", [V5, V311])
def test_what_was_seen_before_is_decoded_the_same(protocol: Protocol) -> None:
    """Known topics and properties take a shorter way, to the same packets."""
    frames = [frame_of(text) for p, text in FROM_SERVER.values() if p is protocol and text.startswith("3")]
    long = bytes.fromhex("33 ac02 0003 612f62 0007 00") + bytes(300 - 8)
    decoder = Decoder(protocol, MAX_PAYLOAD)
    for frame in [*frames, long]:
        [first] = decoder.feed(frame)
        assert decoder.feed(frame * 3) == [first] * 3
    assert decoder.error is None


def test_more_topics_than_are_remembered_are_all_decoded() -> None:
    """What is remembered is bounded, what is decoded is not."""
    decoder = Decoder(V311, MAX_PAYLOAD)
    names = [f"plant/{number}" for number in range(20_000)] + ["long/" + "x" * 300] * 2
    stream = b"".join(encode(PublishPacket(name, b""), V311) for name in names)
    packets = decoder.feed(stream)
    assert [packet.topic for packet in packets if isinstance(packet, PublishPacket)] == names
