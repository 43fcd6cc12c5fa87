"""What ingest does on the wire, seen from a broker that follows a script."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import psutil
import pytest

from ingest.codec import (
    ConnAckReasonCode,
    DisconnectPacket,
    DisconnectReasonCode,
    Protocol,
    PubAckPacket,
    PubCompPacket,
    PublishPacket,
    PubRecPacket,
    PubRelPacket,
    QoS,
    SubscribePacket,
    encode,
)
from shared.definitions import Topic
from shared.store import Store
from tests.support.eventually import eventually
from tests.support.factories import counters
from tests.support.ingest import (
    FAST,
    dead_letters,
    deploy_trigger,
    inbox,
    inbox_length,
    session_field,
    session_state,
)
from tests.support.processes import HeadraceProcess
from tests.support.replaying_broker import TIMEOUT_S, ReplayingBroker
from tests.support.valkey import ValkeyServer

Start = Callable[..., HeadraceProcess]
PINGREQ = b"\xc0\x00"


@pytest.fixture
def broker() -> Iterator[ReplayingBroker]:
    """A broker that does what the test says."""
    with ReplayingBroker() as broker:
        yield broker


def test_nothing_is_acknowledged_before_it_is_stored(
    own_valkey: ValkeyServer, headrace: Start, broker: ReplayingBroker
) -> None:
    """While Redis stands still, PUBACK and PUBREC are withheld; when it goes on, they come."""
    store = Store.connect(own_valkey.url)
    deploy_trigger(store, broker.port, Topic("a", 2))
    headrace("ingest", REDIS_URL=own_valkey.url, **FAST)
    peer = broker.next_session()
    eventually(lambda: session_field(store, "subscriptions"))
    own_valkey.sigstop()
    peer.publish("a", b"one", 1, 7)
    peer.publish("a", b"two", 2, 8)
    assert peer.is_silent_for(1.0)
    own_valkey.sigcont()

    assert peer.expect(PubAckPacket).packet_id == 7
    assert peer.expect(PubRecPacket).packet_id == 8
    assert [each.payload for each in inbox(store)] == [b"one", b"two"]


def test_a_broker_is_held_back_while_redis_stands_still(
    own_valkey: ValkeyServer, headrace: Start, broker: ReplayingBroker
) -> None:
    """Reading stops at the limit and PINGREQs go on; afterwards everything is stored, on the same connection."""
    store = Store.connect(own_valkey.url)
    deploy_trigger(store, broker.port, Topic("a", 1), keep_alive_s=1)
    limit = {"HEADRACE_INGEST__MAX_BUFFERED_BYTES": "1000000"}
    headrace("ingest", REDIS_URL=own_valkey.url, **(FAST | limit))
    peer = broker.next_session()
    eventually(lambda: session_field(store, "subscriptions"))
    own_valkey.sigstop()
    message = encode(PublishPacket("a", b"x" * 100_000, qos=QoS(0)), Protocol.V5)
    whole, part = 0, b""
    peer.socket.settimeout(1.0)
    with contextlib.suppress(TimeoutError):
        while whole < 1000:
            part = part or message
            part = part[peer.socket.send(part) :]
            whole += not part
    peer.socket.settimeout(TIMEOUT_S)
    pings = bytearray()
    while len(pings) < 3 * len(PINGREQ):
        pings += peer.socket.recv(100)
    own_valkey.sigcont()
    peer.send_bytes(part)

    assert 10 < whole < 1000
    assert bytes(pings).replace(PINGREQ, b"") == b""
    eventually(lambda: inbox_length(store) == whole + (part != b""))
    peer.publish("a", b"last", 1, 1)
    assert peer.expect(PubAckPacket).packet_id == 1


def test_acknowledgements_keep_their_order(
    store: Store, redis_url: str, headrace: Start, broker: ReplayingBroker
) -> None:
    """Of many messages in one write, of mixed QoS."""
    deploy_trigger(store, broker.port, Topic("a", 2))
    headrace("ingest", REDIS_URL=redis_url, **FAST)
    peer = broker.next_session()
    peer.send(*[PublishPacket("a", b"%d" % i, qos=QoS(1 + i % 2), packet_id=i) for i in range(1, 2001)])

    for i in range(1, 2001):
        answer = peer.expect(PubRecPacket) if i % 2 else peer.expect(PubAckPacket)
        assert answer.packet_id == i
    assert [int(each.payload) for each in inbox(store)] == list(range(1, 2001))


def test_a_backlog_comes_before_suback(store: Store, redis_url: str, headrace: Start, broker: ReplayingBroker) -> None:
    """Brokers resend everything before they answer SUBSCRIBE: it is all taken and acknowledged."""
    deploy_trigger(store, broker.port, Topic("a", 2))
    headrace("ingest", REDIS_URL=redis_url, **FAST)
    broker.next_session().kill()
    eventually(lambda: session_field(store, "subscriptions"))
    deploy_trigger(store, broker.port, Topic("a", 2), Topic("b", 2))
    peer = broker.next_peer()
    assert not peer.connect.clean_start
    peer.accept(session_present=True)
    asked = [peer.expect(SubscribePacket), peer.expect(SubscribePacket)]
    peer.send(*[PublishPacket("a", b"%d" % i, qos=QoS(2), packet_id=i, duplicate=True) for i in range(1, 7001)])
    for i in range(1, 7001):
        assert peer.expect(PubRecPacket).packet_id == i
    for subscribe in asked:
        peer.grant_now(subscribe)

    eventually(lambda: '"b"' in session_field(store, "subscriptions"))
    assert inbox_length(store) == 7000


def test_a_message_resent_without_dup_is_admitted_once(
    store: Store, redis_url: str, headrace: Start, broker: ReplayingBroker
) -> None:
    """The packet identifier and the content tell it, on a later connection only."""
    deploy_trigger(store, broker.port, Topic("a", 2))
    headrace("ingest", REDIS_URL=redis_url, **FAST)
    peer = broker.next_session()
    eventually(lambda: session_field(store, "subscriptions"))
    peer.publish("a", b"x", 2, 5)
    peer.expect(PubRecPacket)
    peer.kill()
    peer = broker.next_peer()
    peer.accept(session_present=True)
    peer.publish("a", b"x", 2, 5)
    assert peer.expect(PubRecPacket).packet_id == 5
    peer.send(PubRelPacket(5))
    assert peer.expect(PubCompPacket).packet_id == 5
    peer.publish("a", b"x", 2, 5)
    peer.expect(PubRecPacket)

    assert inbox_length(store) == 2
    assert counters(store) == {"received": 3, "admitted": 2, "inbox": 2, "duplicate": 1}


def test_an_unknown_pubrel_is_answered(store: Store, redis_url: str, headrace: Start, broker: ReplayingBroker) -> None:
    """It comes when we were killed between storing and PUBCOMP."""
    deploy_trigger(store, broker.port, Topic("a", 2))
    headrace("ingest", REDIS_URL=redis_url, **FAST)
    peer = broker.next_session()
    peer.send(PubRelPacket(4711))

    assert peer.expect(PubCompPacket).packet_id == 4711


def test_killed_between_connack_and_suback_it_subscribes_again(
    store: Store, redis_url: str, headrace: Start, broker: ReplayingBroker
) -> None:
    """Though the broker says that it has the session: what was asked for had not been recorded."""
    deploy_trigger(store, broker.port, Topic("a", 1))
    ingest = headrace("ingest", REDIS_URL=redis_url, **FAST)
    peer = broker.next_peer()
    peer.accept()
    peer.expect(DisconnectPacket)
    peer = broker.next_peer()
    peer.accept()
    peer.expect(SubscribePacket)
    ingest.kill9()
    ingest.start()
    peer = broker.next_peer()
    assert not peer.connect.clean_start
    peer.accept(session_present=True)
    peer.publish("a", b"waiting", 1, 1)
    peer.grant()

    assert peer.expect(PubAckPacket).packet_id == 1
    assert [each.payload for each in inbox(store)] == [b"waiting"]


def test_a_malformed_packet_ends_the_connection_only(
    store: Store, redis_url: str, headrace: Start, broker: ReplayingBroker
) -> None:
    """The broker is told why, what came before is stored, and the process comes back."""
    deploy_trigger(store, broker.port, Topic("a", 1))
    ingest = headrace("ingest", REDIS_URL=redis_url, **FAST)
    peer = broker.next_session()
    peer.send_bytes(b"\x30\x04\x00\x01a\x00" + b"\x30\x05\x00\x01\xff\x00x")
    assert peer.expect(DisconnectPacket).reason_code == DisconnectReasonCode.MALFORMED_PACKET
    assert peer.is_closed_by_client()
    eventually(lambda: inbox_length(store) == 1)
    peer = broker.next_peer()
    peer.accept(session_present=True)
    peer.publish("a", b"next", 1, 1)

    assert peer.expect(PubAckPacket).packet_id == 1
    assert ingest.running
    assert "session.malformed_packet" in ingest.output


def test_a_payload_over_the_limit_is_settled_without_being_held(
    store: Store, redis_url: str, headrace: Start, broker: ReplayingBroker
) -> None:
    """Dead-lettered with its head and digest, acknowledged; memory stays far below the payload's size."""
    deploy_trigger(store, broker.port, Topic("a", 1))
    ingest = headrace("ingest", REDIS_URL=redis_url, **(FAST | {"HEADRACE_INGEST__MAX_PAYLOAD": "1000000"}))
    peer = broker.next_session()
    size, chunk = 260_000_000, b"x" * 1_000_000
    before = psutil.Process(ingest.pid).memory_info().rss
    peer.send_bytes(b"\x32" + _varint(size + 6) + b"\x00\x01a\x00\x09\x00")
    most = before
    for _ in range(size // len(chunk)):
        peer.send_bytes(chunk)
        most = max(most, psutil.Process(ingest.pid).memory_info().rss)
    peer.publish("a", b"small", 1, 10)

    assert [peer.expect(PubAckPacket).packet_id, peer.expect(PubAckPacket).packet_id] == [9, 10]
    assert most - before < 30_000_000
    (letter,) = dead_letters(store)
    assert (letter.reason, letter.topic, letter.qos, letter.size) == ("oversized", "a", 1, size)
    assert letter.payload == b"x" * 65536
    assert [each.payload for each in inbox(store)] == [b"small"]
    assert counters(store) == {"received": 2, "admitted": 1, "inbox": 1, "oversized": 1}


def test_a_broker_without_mqtt_5_is_spoken_to_in_3_1_1(
    store: Store, redis_url: str, headrace: Start, broker: ReplayingBroker
) -> None:
    """Visibly, and pinned: the next process does not try MQTT 5 again."""
    deploy_trigger(store, broker.port, Topic("a", 1), client_version=None)
    ingest = headrace("ingest", REDIS_URL=redis_url, **FAST)
    peer = broker.next_peer()
    assert peer.protocol is Protocol.V5
    peer.send_bytes(b"\x20\x02\x00\x01")
    peer.close()
    peer = broker.next_session()
    assert peer.protocol is Protocol.V311
    peer.publish("a", b"x", 1, 1)
    peer.expect(PubAckPacket)
    assert "session.protocol_fallback" in ingest.output
    assert ingest.sigterm() == 0
    ingest.start()

    assert broker.next_peer().protocol is Protocol.V311
    assert inbox(store)[0].properties is None


def test_a_refusal_that_a_person_has_to_mend_is_shown_and_tried_again(
    store: Store, redis_url: str, headrace: Start, broker: ReplayingBroker
) -> None:
    """Slowly; but at once when the deployment changes."""
    deploy_trigger(store, broker.port, Topic("a", 1))
    ingest = headrace("ingest", REDIS_URL=redis_url, **FAST)
    broker.next_peer().refuse(ConnAckReasonCode.BAD_USER_NAME_OR_PASSWORD)
    eventually(lambda: session_state(store) == "refused")
    assert "bad user name or password" in session_field(store, "reason")
    assert int(session_field(store, "next_try_at")) > int(session_field(store, "since")) + 50_000
    deploy_trigger(store, broker.port, Topic("a", 1), broker={"username": "u", "password": "p"})
    peer = broker.next_session()

    assert (peer.connect.username, peer.connect.password) == ("u", b"p")
    eventually(lambda: session_state(store) == "connected")
    assert session_field(store, "reason") == ""
    assert ingest.output.count("session.refused") == 1


def test_a_take_over_by_a_stranger_is_not_fought(
    store: Store, redis_url: str, headrace: Start, broker: ReplayingBroker
) -> None:
    """The lease is still ours, so it is tried again, but slowly."""
    deploy_trigger(store, broker.port, Topic("a", 1))
    headrace("ingest", REDIS_URL=redis_url, **FAST)
    peer = broker.next_session()
    peer.send(DisconnectPacket(reason_code=DisconnectReasonCode.SESSION_TAKEN_OVER))
    peer.close()

    eventually(lambda: session_state(store) == "taken over")
    assert int(session_field(store, "next_try_at")) > int(session_field(store, "since")) + 50_000


@pytest.mark.parametrize("version", ["v5", "v3"])
def test_it_ends_in_good_order_on_sigterm(
    version: str, store: Store, redis_url: str, headrace: Start, broker: ReplayingBroker
) -> None:
    """What was received is stored and acknowledged, then comes DISCONNECT; the lease is free."""
    deploy_trigger(store, broker.port, Topic("a", 1), client_version=version)
    ingest = headrace("ingest", REDIS_URL=redis_url, **FAST)
    peer = broker.next_session()
    peer.send(*[PublishPacket("a", b"x", qos=QoS(1), packet_id=i) for i in range(1, 101)])
    peer.expect(PubAckPacket)
    assert ingest.sigterm() == 0

    assert peer.is_closed_by_client()
    acknowledged = sum(isinstance(packet, PubAckPacket) for packet in peer.received)
    assert inbox_length(store) == acknowledged == 100
    assert isinstance(peer.received[-1], DisconnectPacket)
    assert peer.received[-1].reason_code == DisconnectReasonCode.NORMAL_DISCONNECTION
    assert session_state(store) == "stopped"
    assert not store.command("EXISTS", "headrace:lease:abcdefgh")


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*encoded, value))
