"""A broker that sends what is not MQTT: the connection ends with its reason, the process and the session go on."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest

from ingest.codec import DisconnectPacket, Protocol, PubAckPacket, Reason, SubscribePacket
from shared.definitions import Topic
from shared.store import Store
from tests.support.eventually import eventually
from tests.support.ingest import FAST, deploy_trigger, inbox, session_field
from tests.support.processes import HeadraceProcess
from tests.support.replaying_broker import Peer, ReplayingBroker

Start = Callable[..., HeadraceProcess]
TLS_ALERT = b"\x15\x03\x01\x00\x02\x02\x46"
WEB_PAGE = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n<html><body>Bad Request</body></html>\r\n" * 3
NOISE = random.Random(2).randbytes(4096)

INSTEAD_OF_CONNACK = [
    (TLS_ALERT, Reason.PROTOCOL_ERROR),
    (WEB_PAGE, Reason.MALFORMED_PACKET),
    (NOISE, Reason.MALFORMED_PACKET),
    (bytes(1000), Reason.MALFORMED_PACKET),
    (b"\x30\x05\x00\x01a\x00x", Reason.PROTOCOL_ERROR),
    (b"\x20\xff\xff\xff\xff\x7f", Reason.MALFORMED_PACKET),
]
AFTER_CONNACK = [
    (NOISE, Reason.MALFORMED_PACKET),
    (WEB_PAGE, Reason.MALFORMED_PACKET),
    (b"\x90\x80\x80\x80\x01", Reason.PACKET_TOO_LARGE),
    (b"\x30\x05\x00\x01#\x00x", Reason.TOPIC_NAME_INVALID),
    (b"\x32\x07\x00\x01a\x00\x00\x00x", Reason.PROTOCOL_ERROR),
    (b"\x20\x03\x00\x00\x00", Reason.PROTOCOL_ERROR),
    (b"\xe0\x02\x01\x00", Reason.MALFORMED_PACKET),
]


@pytest.fixture
def broker() -> Iterator[ReplayingBroker]:
    """A broker that does what the test says."""
    with ReplayingBroker() as broker:
        yield broker


def ends_with(peer: Peer, garbage: bytes) -> int | None:
    """The reason with which the client ends the connection after these bytes; None: it gives none."""
    peer.send_bytes(garbage)
    assert peer.is_closed_by_client()
    peer.close()
    said = [packet for packet in peer.received if isinstance(packet, DisconnectPacket)]
    return int(said[0].reason_code) if said else None


@pytest.mark.parametrize("version", ["v5", "v3"])
def test_garbage_ends_connections_and_nothing_else(
    version: str, redis_url: str, headrace: Start, broker: ReplayingBroker
) -> None:
    """Instead of CONNACK and after it, of whole packets and cut off: the session is resumed whenever it stops."""
    store = Store.connect(redis_url)
    deploy_trigger(store, broker.port, Topic("a", 1), client_version=version)
    ingest = headrace("ingest", REDIS_URL=redis_url, **FAST)
    pid = ingest.pid
    broker.next_session().kill()
    eventually(lambda: session_field(store, "subscriptions"))
    for garbage, reason in INSTEAD_OF_CONNACK:
        said = ends_with(broker.next_peer(), garbage)
        assert said == (reason if version == "v5" else None), garbage[:20]
    for garbage, reason in AFTER_CONNACK:
        peer = broker.next_peer()
        peer.accept(session_present=True)
        said = ends_with(peer, garbage)
        assert said == (reason if peer.protocol is Protocol.V5 else None), garbage[:20]
    peer = broker.next_peer()
    peer.accept(session_present=True)
    peer.send_bytes(b"\x32\x30\x00\x01a\x00\x01\x00half of it")
    peer.kill()
    peer = broker.next_peer()
    peer.accept(session_present=True)
    peer.publish("a", b"good", 1, 1)

    assert eventually(lambda: [each.payload for each in inbox(store)]) == [b"good"]
    while not isinstance(packet := peer.next_packet(), PubAckPacket):
        assert isinstance(packet, SubscribePacket)
    assert (ingest.running, ingest.pid) == (True, pid)
    assert ingest.output.count("session.malformed_packet") == len(INSTEAD_OF_CONNACK) + len(AFTER_CONNACK)
    assert "Traceback" not in ingest.output
