"""What each packet becomes, and the bytes that each packet is written as, in both protocol versions."""

from __future__ import annotations

import pytest

from ingest.codec import (
    PUBACKS,
    PUBCOMPS,
    PUBRECS,
    ConnAckPacket,
    ConnAckReasonCode,
    ConnectPacket,
    Decoder,
    DisconnectPacket,
    DisconnectReasonCode,
    Inbound,
    Packet,
    PingReqPacket,
    PingRespPacket,
    Protocol,
    PubAckPacket,
    PubAckReasonCode,
    PubCompPacket,
    PubCompReasonCode,
    PublishPacket,
    PubRecPacket,
    PubRecReasonCode,
    PubRelPacket,
    QoS,
    RetainHandling,
    Role,
    SubAckPacket,
    SubAckReasonCode,
    SubscribePacket,
    TopicFilter,
    UnencodablePacket,
    UnsubAckPacket,
    UnsubAckReasonCode,
    UnsubscribePacket,
    Will,
    encode,
)

V5, V311 = Protocol.V5, Protocol.V311
Q0, Q1, Q2 = QoS.AT_MOST_ONCE, QoS.AT_LEAST_ONCE, QoS.EXACTLY_ONCE
CONNECT = {
    V5: "10 0f 0004 4d515454 05 02 003c 00 0002 6964",
    V311: "10 0e 0004 4d515454 04 02 003c 0002 6964",
}


def decoded(protocol: Protocol, text: str, role: Role = Role.CLIENT) -> Inbound:
    """The one packet of a frame in hex, for a server after its CONNECT."""
    decoder = Decoder(protocol, 1000, role)
    if role is Role.SERVER and not text.startswith("10"):
        decoder.feed(bytes.fromhex(CONNECT[protocol]))
    [packet] = decoder.feed(bytes.fromhex(text))
    return packet


SERVER_PACKETS = [
    (V5, "20 03 01 00 00", ConnAckPacket(session_present=True)),
    (
        V5,
        "20 09 00 00 06 21000a 22000b",
        ConnAckPacket(receive_max=10, topic_alias_max=11),
    ),
    (V5, "20 03 00 87 00", ConnAckPacket(reason_code=ConnAckReasonCode.NOT_AUTHORIZED)),
    (V5, "30 08 0003 612f62 00 6869", PublishPacket("a/b", b"hi")),
    (
        V5,
        "3b 0d 0003 612f62 0007 03 0b8101 6869",
        PublishPacket("a/b", b"hi", qos=Q1, retain=True, duplicate=True, packet_id=7, subscription_ids=[129]),
    ),
    (V5, "30 08 0000 03 230004 6869", PublishPacket("", b"hi", topic_alias=4)),
    (V5, "40 02 0007", PubAckPacket(7)),
    (V5, "40 03 0007 97", PubAckPacket(7, reason_code=PubAckReasonCode.QUOTA_EXCEEDED)),
    (V5, "50 02 0007", PubRecPacket(7)),
    (V5, "62 02 0007", PubRelPacket(7)),
    (V5, "70 03 0007 92", PubCompPacket(7, reason_code=PubCompReasonCode.PACKET_ID_NOT_FOUND)),
    (
        V5,
        "90 05 0007 00 02 87",
        SubAckPacket(7, [SubAckReasonCode.GRANTED_QOS_EXACTLY_ONCE, SubAckReasonCode.NOT_AUTHORIZED]),
    ),
    (V5, "b0 04 0007 00 11", UnsubAckPacket(7, [UnsubAckReasonCode.NO_SUBSCRIPTION_EXISTED])),
    (V5, "d0 00", PingRespPacket()),
    (V5, "e0 01 8e", DisconnectPacket(reason_code=DisconnectReasonCode.SESSION_TAKEN_OVER)),
    (V311, "20 02 01 00", ConnAckPacket(session_present=True)),
    (V311, "20 02 00 01", ConnAckPacket(reason_code=ConnAckReasonCode.UNSUPPORTED_PROTOCOL_VERSION)),
    (V311, "20 02 00 02", ConnAckPacket(reason_code=ConnAckReasonCode.CLIENT_ID_NOT_VALID)),
    (V311, "20 02 00 03", ConnAckPacket(reason_code=ConnAckReasonCode.SERVER_UNAVAILABLE)),
    (V311, "20 02 00 04", ConnAckPacket(reason_code=ConnAckReasonCode.BAD_USER_NAME_OR_PASSWORD)),
    (V311, "20 02 00 05", ConnAckPacket(reason_code=ConnAckReasonCode.NOT_AUTHORIZED)),
    (V311, "30 07 0003 612f62 6869", PublishPacket("a/b", b"hi")),
    (V311, "31 05 0003 612f62", PublishPacket("a/b", b"", retain=True)),
    (V311, "3c 09 0003 612f62 0107 0000", PublishPacket("a/b", b"\0\0", qos=Q2, duplicate=True, packet_id=263)),
    (V311, "40 02 0007", PubAckPacket(7)),
    (V311, "50 02 0007", PubRecPacket(7)),
    (V311, "62 02 0007", PubRelPacket(7)),
    (V311, "70 02 0007", PubCompPacket(7)),
    (
        V311,
        "90 04 0007 01 80",
        SubAckPacket(7, [SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE, SubAckReasonCode.UNSPECIFIED_ERROR]),
    ),
    (V311, "b0 02 0007", UnsubAckPacket(7, [])),
    (V311, "d0 00", PingRespPacket()),
]


@pytest.mark.parametrize("protocol,text,packet", SERVER_PACKETS)
def test_what_a_server_sends_is_read_and_written(protocol: Protocol, text: str, packet: Packet) -> None:
    """The bytes give the packet, and the packet gives the bytes."""
    assert decoded(protocol, text) == packet
    assert encode(packet, protocol) == bytes.fromhex(text)


CLIENT_PACKETS = [
    (V5, CONNECT[V5], ConnectPacket("id", clean_start=True, keep_alive=60)),
    (
        V5,
        "10 14 0004 4d515454 05 00 003c 05 1100000e10 0002 6964",
        ConnectPacket("id", keep_alive=60, session_expiry_interval=3600),
    ),
    (
        V5,
        "82 0a 0007 02 0b05 0002 612f 19",
        SubscribePacket(
            7,
            [
                TopicFilter(
                    "a/",
                    max_qos=Q1,
                    retain_as_published=True,
                    retain_handling=RetainHandling.SEND_IF_SUBSCRIPTION_NOT_EXISTS,
                )
            ],
            subscription_id=5,
        ),
    ),
    (V5, "a2 09 0007 00 0001 61 0001 23", UnsubscribePacket(7, ["a", "#"])),
    (V5, "c0 00", PingReqPacket()),
    (V5, "e0 01 04", DisconnectPacket(reason_code=DisconnectReasonCode.DISCONNECT_WITH_WILL_MESSAGE)),
    (V5, "32 08 0001 61 0007 00 6869", PublishPacket("a", b"hi", qos=Q1, packet_id=7)),
    (V5, "50 03 0007 83", PubRecPacket(7, reason_code=PubRecReasonCode.IMPLEMENTATION_SPECIFIC_ERROR)),
    (V311, CONNECT[V311], ConnectPacket("id", clean_start=True, keep_alive=60)),
    (
        V311,
        "10 25 0004 4d515454 04 ee 003c 0002 6964 0001 77 0003 627965 0004 75736572 0003 707764",
        ConnectPacket(
            "id",
            clean_start=True,
            keep_alive=60,
            username="user",
            password=b"pwd",
            will=Will("w", payload=b"bye", qos=Q1, retain=True),
        ),
    ),
    (
        V311,
        "82 0a 0007 0001 61 01 0001 62 02",
        SubscribePacket(
            7,
            [
                TopicFilter("a", max_qos=Q1, retain_as_published=False),
                TopicFilter("b", max_qos=Q2, retain_as_published=False),
            ],
        ),
    ),
    (V311, "a2 05 0007 0001 61", UnsubscribePacket(7, ["a"])),
    (V311, "c0 00", PingReqPacket()),
    (V311, "e0 00", DisconnectPacket()),
    (V311, "34 07 0001 61 0007 6869", PublishPacket("a", b"hi", qos=Q2, packet_id=7)),
]


@pytest.mark.parametrize("protocol,text,packet", CLIENT_PACKETS)
def test_what_a_client_sends_is_written_and_read(protocol: Protocol, text: str, packet: Packet) -> None:
    """The packet gives the bytes, and a server reads the packet from them."""
    raw = bytes.fromhex(text)
    raw = raw[:1] + bytes((len(raw) - 2,)) + raw[2:]
    assert encode(packet, protocol).hex(" ") == raw.hex(" ")
    assert decoded(protocol, raw.hex(" "), Role.SERVER) == packet


ONLY_IN_5 = [
    (
        SubscribePacket(7, [TopicFilter("a", max_qos=Q1, no_local=True, retain_handling=RetainHandling.SEND_NEVER)]),
        "82 06 0007 0001 61 01",
    ),
    (PubAckPacket(7, reason_code=PubAckReasonCode.QUOTA_EXCEEDED, reason_str="no"), "40 02 0007"),
    (PubRecPacket(7, reason_code=PubRecReasonCode.QUOTA_EXCEEDED), "50 02 0007"),
    (PubCompPacket(7, reason_code=PubCompReasonCode.PACKET_ID_NOT_FOUND), "70 02 0007"),
    (DisconnectPacket(reason_code=DisconnectReasonCode.PROTOCOL_ERROR), "e0 00"),
    (SubAckPacket(7, [SubAckReasonCode.NOT_AUTHORIZED]), "90 03 0007 80"),
    (UnsubAckPacket(7, [UnsubAckReasonCode.SUCCESS]), "b0 02 0007"),
    (
        ConnectPacket(
            "id",
            keep_alive=60,
            clean_start=True,
            session_expiry_interval=60,
            receive_max=10,
            will=Will("w", payload=b"x", will_delay_interval=5, content_type="t"),
        ),
        "10 14 0004 4d515454 04 06 003c 0002 6964 0001 77 0001 78",
    ),
]


@pytest.mark.parametrize("packet,text", ONLY_IN_5)
def test_what_only_mqtt_5_can_say_is_left_out_of_3_1_1(packet: Packet, text: str) -> None:
    """Reason codes, subscription options and the properties of CONNECT have no place in a 3.1.1 packet."""
    assert encode(packet, V311).hex(" ") == bytes.fromhex(text).hex(" ")


@pytest.mark.parametrize(
    "packet",
    [
        PublishPacket("a", b"", content_type="t"),
        PublishPacket("a", b"", user_properties=[("a", "b")]),
        PublishPacket("", b"", topic_alias=3),
        SubscribePacket(7, [TopicFilter("a")], subscription_id=3),
        ConnectPacket("id", password=b"secret"),
        ConnectPacket("", clean_start=False),
        ConnAckPacket(reason_code=ConnAckReasonCode.BANNED),
    ],
)
def test_what_3_1_1_would_lose_is_refused(packet: Packet) -> None:
    """Where leaving something out would change the meaning, nothing is written."""
    with pytest.raises(UnencodablePacket, match=r"3\.1\.1"):
        encode(packet, V311)


@pytest.mark.parametrize("protocol", [V5, V311])
def test_a_packet_of_256_mib_is_refused(protocol: Protocol) -> None:
    """The parser's panic over the length limit comes as an ordinary error."""
    packet = PublishPacket("a", bytes(1 << 28))
    with pytest.raises(UnencodablePacket, match="256 MiB"):
        encode(packet, protocol)


@pytest.mark.parametrize("packet_id", [1, 255, 256, 65535])
@pytest.mark.parametrize("protocol", [V5, V311])
def test_the_ready_acknowledgements_are_the_written_ones(packet_id: int, protocol: Protocol) -> None:
    """The tables hold, under each packet identifier, what encode gives."""
    assert PUBACKS[packet_id] == encode(PubAckPacket(packet_id), protocol)
    assert PUBRECS[packet_id] == encode(PubRecPacket(packet_id), protocol)
    assert PUBCOMPS[packet_id] == encode(PubCompPacket(packet_id), protocol)
    assert len(PUBACKS) == len(PUBRECS) == len(PUBCOMPS) == 65536


@pytest.mark.parametrize("code", range(6))
def test_a_3_1_1_server_that_is_asked_for_mqtt_5_refuses_the_version(code: int) -> None:
    """Its two-byte CONNACK, whatever the return code, says that it speaks no MQTT 5."""
    packet = decoded(V5, f"20 02 00 0{code}")
    assert isinstance(packet, ConnAckPacket)
    assert packet.reason_code == ConnAckReasonCode.UNSUPPORTED_PROTOCOL_VERSION


@pytest.mark.parametrize("protocol", [V5, V311])
def test_a_server_learns_the_protocol_from_connect(protocol: Protocol) -> None:
    """Whatever the decoder was made for, CONNECT decides."""
    for assumed in (V5, V311):
        decoder = Decoder(assumed, 1000, Role.SERVER)
        assert len(decoder.feed(bytes.fromhex(CONNECT[protocol]))) == 1
        assert decoder.protocol is protocol
