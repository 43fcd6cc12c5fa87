"""Invariants: what is written is read back; amqtt agrees about 3.1.1; no input raises, and only its own bytes make a
packet.
"""

from __future__ import annotations

import asyncio
from typing import Any

from amqtt.adapters import BufferReader
from amqtt.mqtt import packet_class
from amqtt.mqtt.connack import ConnackPacket as AmqttConnack
from amqtt.mqtt.packet import MQTTFixedHeader
from amqtt.mqtt.puback import PubackPacket as AmqttPuback
from amqtt.mqtt.pubcomp import PubcompPacket as AmqttPubcomp
from amqtt.mqtt.publish import PublishPacket as AmqttPublish
from amqtt.mqtt.pubrec import PubrecPacket as AmqttPubrec
from amqtt.mqtt.pubrel import PubrelPacket as AmqttPubrel
from amqtt.mqtt.suback import SubackPacket as AmqttSuback
from amqtt.mqtt.unsuback import UnsubackPacket as AmqttUnsuback
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.codec import (
    ConnAckPacket,
    ConnAckReasonCode,
    ConnectPacket,
    Decoder,
    DisconnectPacket,
    DisconnectReasonCode,
    Inbound,
    OversizedPublish,
    Packet,
    PingReqPacket,
    PingRespPacket,
    Protocol,
    PubAckPacket,
    PubAckReasonCode,
    PubCompPacket,
    PublishPacket,
    PubRecPacket,
    PubRelPacket,
    QoS,
    Role,
    SubAckPacket,
    SubAckReasonCode,
    SubscribePacket,
    TopicFilter,
    UnsubAckPacket,
    UnsubAckReasonCode,
    UnsubscribePacket,
    Will,
    encode,
    publish_digest,
)

V5, V311 = Protocol.V5, Protocol.V311
QOS = (QoS.AT_MOST_ONCE, QoS.AT_LEAST_ONCE, QoS.EXACTLY_ONCE)
LIMIT = 40

settings.register_profile("codec", deadline=None, max_examples=200)
EXAMPLES = settings.get_profile("codec")


def texts(without: str = "\0", min_size: int = 0) -> st.SearchStrategy[str]:
    """Strings that MQTT can carry."""
    return st.text(st.characters(exclude_categories=["Cs"], exclude_characters=without), min_size=min_size, max_size=12)


packet_ids = st.integers(1, 65535)
topics = texts("\0+#", 1)
payloads = st.binary(max_size=3 * LIMIT)
optional_texts = st.none() | texts()
pairs = st.lists(st.tuples(texts(), texts()), max_size=3)


@st.composite
def publishes(draw: st.DrawFn, protocol: Protocol) -> PublishPacket:
    """A PUBLISH of this protocol."""
    qos = draw(st.integers(0, 2))
    properties: dict[str, Any] = {}
    if protocol is V5 and draw(st.booleans()):
        properties = {
            "payload_format_indicator": draw(st.integers(0, 1)),
            "message_expiry_interval": draw(st.none() | st.integers(0, 2**32 - 1)),
            "content_type": draw(optional_texts),
            "response_topic": draw(st.none() | topics),
            "correlation_data": draw(st.none() | st.binary(max_size=20)),
            "subscription_ids": draw(st.lists(st.integers(1, 2**28 - 1), max_size=3)),
            "topic_alias": draw(st.none() | st.integers(1, 65535)),
            "user_properties": draw(pairs),
        }
    return PublishPacket(
        draw(texts("\0+#") if properties.get("topic_alias") else topics),
        draw(payloads),
        qos=QOS[qos],
        retain=draw(st.booleans()),
        packet_id=draw(packet_ids) if qos else None,
        duplicate=bool(qos) and draw(st.booleans()),
        **properties,
    )


def reasons(kind: type[Any], codes: list[int]) -> st.SearchStrategy[Any]:
    """Reason codes of this class."""
    return st.sampled_from([kind(code) for code in codes])


acks_311 = st.one_of(
    *(st.builds(kind, packet_ids) for kind in (PubAckPacket, PubRecPacket, PubRelPacket, PubCompPacket))
)
from_server_311 = st.one_of(
    publishes(V311),
    acks_311,
    st.builds(ConnAckPacket, session_present=st.booleans(), reason_code=reasons(ConnAckReasonCode, [0, 0x84, 0x87])),
    st.builds(SubAckPacket, packet_ids, st.lists(reasons(SubAckReasonCode, [0, 1, 2, 0x80]), min_size=1, max_size=5)),
    st.builds(UnsubAckPacket, packet_ids, st.just([])),
    st.builds(PingRespPacket),
)
from_server_5 = st.one_of(
    publishes(V5),
    acks_311,
    st.builds(
        PubAckPacket,
        packet_ids,
        reason_code=reasons(PubAckReasonCode, [0, 0x10, 0x97]),
        reason_str=optional_texts,
        user_properties=pairs,
    ),
    st.builds(
        ConnAckPacket,
        reason_code=reasons(ConnAckReasonCode, [0, 0x87]),
        session_expiry_interval=st.none() | st.integers(0, 2**32 - 1),
        assigned_client_id=optional_texts,
        server_keep_alive=st.none() | st.integers(0, 65535),
        receive_max=st.integers(1, 65535),
        retain_available=st.booleans(),
        user_properties=pairs,
    ),
    st.builds(
        SubAckPacket,
        packet_ids,
        st.lists(reasons(SubAckReasonCode, [0, 1, 2, 0x80, 0x87]), min_size=1, max_size=5),
        reason_str=optional_texts,
    ),
    st.builds(
        UnsubAckPacket,
        packet_ids,
        st.lists(reasons(UnsubAckReasonCode, [0, 0x11]), min_size=1, max_size=5),
        user_properties=pairs,
    ),
    st.builds(PingRespPacket),
    st.builds(
        DisconnectPacket, reason_code=reasons(DisconnectReasonCode, [0x8B, 0x8E]), server_reference=optional_texts
    ),
)
patterns = st.builds("".join, st.tuples(topics, st.sampled_from(["", "/+", "/+/x", "/#"])))
filters = st.lists(
    st.builds(TopicFilter, patterns, max_qos=st.sampled_from(QOS), retain_as_published=st.just(value=False)),
    min_size=1,
    max_size=4,
)
wills = st.builds(Will, topics, payload=payloads, qos=st.sampled_from(QOS), retain=st.booleans())


@st.composite
def connects(draw: st.DrawFn) -> ConnectPacket:
    """A CONNECT that both protocols can say."""
    username = draw(optional_texts)
    return ConnectPacket(
        draw(texts(min_size=1)),
        username=username,
        password=None if username is None else draw(st.none() | texts().map(str.encode)),
        clean_start=draw(st.booleans()),
        keep_alive=draw(st.integers(0, 65535)),
        will=draw(st.none() | wills),
    )


from_client_311 = st.one_of(
    connects(),
    publishes(V311),
    acks_311,
    st.builds(SubscribePacket, packet_ids, filters),
    st.builds(UnsubscribePacket, packet_ids, st.lists(patterns, min_size=1, max_size=4)),
    st.builds(PingReqPacket),
    st.builds(DisconnectPacket),
)
cuts = st.lists(st.integers(1, 60), min_size=1, max_size=8)


def fed(protocol: Protocol, stream: bytes, sizes: list[int], limit: int) -> tuple[list[Inbound], str]:
    """What a stream decodes to in pieces of these sizes, over and over, and the error that ended it."""
    decoder = Decoder(protocol, limit)
    packets: list[Inbound] = []
    at = turn = 0
    while at < len(stream):
        size = sizes[turn % len(sizes)]
        packets += decoder.feed(stream[at : at + size])
        at += size
        turn += 1
    return packets, str(decoder.error)


def by_amqtt(frame: bytes) -> Any:
    """The packet as amqtt's classes read it."""

    async def read() -> Any:
        reader = BufferReader(frame)
        header = await MQTTFixedHeader.from_stream(reader)
        assert header is not None
        packet = await packet_class(header).from_stream(reader, fixed_header=header)
        assert await reader.read() == b""
        return packet

    return asyncio.run(read())


@settings(EXAMPLES)
@given(st.lists(from_server_5, min_size=1, max_size=8), cuts)
def test_mqtt_5_packets_survive_the_round_trip_however_cut(packets: list[Packet], sizes: list[int]) -> None:
    """What is written is read back, in order, in pieces of any size."""
    stream = b"".join(encode(packet, V5) for packet in packets)
    assert fed(V5, stream, sizes, 1000) == (packets, "None")


@settings(EXAMPLES)
@given(st.lists(from_server_311, min_size=1, max_size=8), cuts)
def test_mqtt_3_1_1_packets_survive_the_round_trip_however_cut(packets: list[Packet], sizes: list[int]) -> None:
    """What is written is read back, in order, in pieces of any size."""
    stream = b"".join(encode(packet, V311) for packet in packets)
    assert fed(V311, stream, sizes, 1000) == (packets, "None")


@settings(EXAMPLES)
@given(st.lists(publishes(V5), min_size=1, max_size=5), cuts)
def test_a_payload_over_the_limit_loses_nothing_but_itself(packets: list[PublishPacket], sizes: list[int]) -> None:
    """Digest and header of an oversized PUBLISH are those of the whole one."""
    received, error = fed(V5, b"".join(encode(packet, V5) for packet in packets), sizes, LIMIT)
    assert error == "None"
    for packet, sent in zip(received, packets, strict=True):
        assert isinstance(packet, OversizedPublish) == (len(sent.payload) > LIMIT)
        assert isinstance(packet, PublishPacket | OversizedPublish)
        assert publish_digest(packet) == publish_digest(sent)
        assert (packet.topic, packet.qos, packet.packet_id) == (sent.topic, sent.qos, sent.packet_id)


@settings(EXAMPLES)
@given(st.data(), st.sampled_from([V5, V311]), cuts)
def test_damaged_streams_give_the_same_however_cut(data: st.DataObject, protocol: Protocol, sizes: list[int]) -> None:
    """Whatever is overwritten: no exception, the same packets and the same error as at once, and no packet that
    depends on what comes after it.
    """
    packets = data.draw(st.lists(from_server_5 if protocol is V5 else from_server_311, min_size=1, max_size=6))
    stream = bytearray(b"".join(encode(packet, protocol) for packet in packets))
    for _ in range(data.draw(st.integers(1, 5))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    whole, error = fed(protocol, bytes(stream), [len(stream)], LIMIT)
    assert fed(protocol, bytes(stream), sizes, LIMIT) == (whole, error)
    cut = data.draw(st.integers(0, len(stream)))
    some, _ = fed(protocol, bytes(stream[:cut]), [len(stream)], LIMIT)
    assert some == whole[: len(some)]


@settings(EXAMPLES)
@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=60)), max_size=6), st.sampled_from([V5, V311]), cuts)
def test_random_frames_give_the_same_however_cut(
    frames: list[tuple[int, bytes]], protocol: Protocol, sizes: list[int]
) -> None:
    """Random first bytes and bodies in proper frames: packets or an error, nothing else."""
    stream = b"".join(bytes((first, len(body))) + body for first, body in frames)
    whole = fed(protocol, stream, [len(stream) or 1], LIMIT)
    assert fed(protocol, stream, sizes, LIMIT) == whole


@settings(EXAMPLES)
@given(st.binary(max_size=300), st.sampled_from(list(Role)))
def test_random_bytes_never_raise(stream: bytes, role: Role) -> None:
    """Packets, an error, or waiting for more."""
    decoder = Decoder(V5, LIMIT, role)
    decoder.feed(stream)
    if decoder.error is not None:
        assert decoder.feed(stream) == []


@settings(EXAMPLES)
@given(publishes(V311))
def test_amqtt_writes_the_publish_that_we_read(packet: PublishPacket) -> None:
    """Field by field, and byte by byte what we write."""
    frame = AmqttPublish.build(
        packet.topic, packet.payload, packet.packet_id, packet.duplicate, int(packet.qos), packet.retain
    ).to_bytes()
    assert Decoder(V311, 1000).feed(frame) == [packet]
    assert encode(packet, V311) == frame


@settings(EXAMPLES)
@given(packet_ids, st.lists(st.sampled_from([0, 1, 2, 0x80]), min_size=1, max_size=5), st.booleans())
def test_amqtt_writes_the_acknowledgements_that_we_read(packet_id: int, codes: list[int], present: bool) -> None:  # noqa: FBT001
    """CONNACK, SUBACK, UNSUBACK and the four of PUBLISH."""
    written: list[tuple[Any, Packet]] = [
        (AmqttConnack.build(int(present), 0), ConnAckPacket(session_present=present)),
        (AmqttSuback.build(packet_id, codes), SubAckPacket(packet_id, [SubAckReasonCode(code) for code in codes])),
        (AmqttUnsuback.build(packet_id), UnsubAckPacket(packet_id, [])),
        (AmqttPuback.build(packet_id), PubAckPacket(packet_id)),
        (AmqttPubrec.build(packet_id), PubRecPacket(packet_id)),
        (AmqttPubrel.build(packet_id), PubRelPacket(packet_id)),
        (AmqttPubcomp.build(packet_id), PubCompPacket(packet_id)),
    ]
    for theirs, ours in written:
        assert Decoder(V311, 1000).feed(theirs.to_bytes()) == [ours]
        assert encode(ours, V311) == theirs.to_bytes()


@settings(EXAMPLES)
@given(from_client_311)
def test_amqtt_reads_what_we_write_to_a_3_1_1_server(packet: Packet) -> None:
    """It finds every field as we meant it, and writes the same bytes again; our own server side agrees."""
    frame = encode(packet, V311)
    theirs = by_amqtt(frame)
    assert theirs.to_bytes() == frame
    if isinstance(packet, SubscribePacket):
        assert theirs.payload.topics == [(wanted.pattern, int(wanted.max_qos)) for wanted in packet.topic_filters]
    elif isinstance(packet, UnsubscribePacket):
        assert theirs.payload.topics == packet.patterns
    elif isinstance(packet, ConnectPacket):
        password = packet.password and packet.password.decode()
        assert (theirs.proto_level, theirs.client_id, theirs.keep_alive) == (4, packet.client_id, packet.keep_alive)
        assert (theirs.clean_session_flag, theirs.username) == (packet.clean_start, packet.username)
        assert (theirs.password or None) == (password or None)
        assert (theirs.will_topic, theirs.will_flag) == (packet.will and packet.will.topic, packet.will is not None)
    decoder = Decoder(V5, 1000, Role.SERVER)
    if not isinstance(packet, ConnectPacket):
        decoder.feed(encode(ConnectPacket("id", clean_start=True), V311))
    assert decoder.feed(frame) == [packet]
