"""Ingest while Redis fails: nothing is lost, nothing is stored twice, and what cannot be stored is not acknowledged."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from shared.definitions import Topic
from shared.store import Store
from tests.support.eventually import eventually
from tests.support.factories import counters
from tests.support.ingest import FAST, deploy_trigger, inbox, inbox_length, is_subscribed, send, session_field
from tests.support.mosquitto import Mosquitto
from tests.support.processes import HeadraceProcess
from tests.support.proxy import CuttingProxy
from tests.support.replaying_broker import ReplayingBroker
from tests.support.valkey import ValkeyServer

Start = Callable[..., HeadraceProcess]


def payloads(store: Store, topic: str) -> Counter[bytes]:
    """How often each payload of a topic is in the inbox."""
    return Counter(each.payload for each in inbox(store) if each.topic == topic)


def test_redis_killed_and_restarted_under_load_loses_and_doubles_nothing(
    own_valkey: ValkeyServer, headrace: Start, mosquitto: Mosquitto
) -> None:
    """The same calls are repeated until they are answered; the broker's connection stays."""
    store = Store.connect(own_valkey.url)
    deploy_trigger(store, mosquitto.port, Topic("q1", 1), Topic("q2", 2), receive_maximum=50)
    ingest = headrace("ingest", REDIS_URL=own_valkey.url, **FAST)
    eventually(lambda: is_subscribed(store))
    messages = [(f"q{qos}", f"{i}", 2) for i in range(4000) for qos in (1, 2)]
    publishing = threading.Thread(target=send, args=(mosquitto.port, *messages))
    publishing.start()
    for goal in (500, 2500):
        eventually(lambda goal=goal: inbox_length(store) > goal, 30)  # type: ignore[misc]
        own_valkey.kill9()
        own_valkey.start()
    publishing.join(60)

    eventually(lambda: inbox_length(store) >= 8000, 30)
    for topic in ("q1", "q2"):
        assert payloads(store, topic) == Counter(b"%d" % i for i in range(4000))
    assert counters(store) == {"received": 8000, "admitted": 8000, "inbox": 8000}
    assert session_field(store, "connection") == "2"
    assert ingest.output.count("store.unavailable") == ingest.output.count("store.available") > 0


def test_lost_replies_change_nothing(own_valkey: ValkeyServer, headrace: Start, mosquitto: Mosquitto) -> None:
    """Redis has carried the call out, and the connection breaks before the answer: the repeat is recognised."""
    store = Store.connect(own_valkey.url)
    with CuttingProxy(own_valkey.port) as proxy:
        deploy_trigger(store, mosquitto.port, Topic("q1", 1), Topic("q2", 2))
        proxy.cut_replies(10, after=b"EVALSHA")
        headrace("ingest", REDIS_URL=f"redis://127.0.0.1:{proxy.port}/0", **FAST)
        eventually(lambda: is_subscribed(store), 30)
        proxy.resume()
        for start in range(0, 600, 100):
            proxy.cut_replies(3, after=b"EVALSHA")
            send(mosquitto.port, *[(f"q{qos}", f"{start + i}", 2) for i in range(100) for qos in (1, 2)])

        eventually(lambda: inbox_length(store) >= 1200, 30)
        assert proxy.cuts > 10
    for topic in ("q1", "q2"):
        assert payloads(store, topic) == Counter(b"%d" % i for i in range(600))
    assert counters(store) == {"received": 1200, "admitted": 1200, "inbox": 1200}


def test_a_redis_that_went_back_in_time_ends_the_term(tmp_path: Path, headrace: Start) -> None:
    """Killed without having kept what it answered: the session begins again from what Redis knows."""
    options = {"appendfsync": "no", "appendonly": "no"}
    with ReplayingBroker() as broker, ValkeyServer(tmp_path / "valkey", options) as valkey:
        valkey.start()
        store = Store.connect(valkey.url)
        deploy_trigger(store, broker.port, Topic("a", 1))
        ingest = headrace("ingest", REDIS_URL=valkey.url, **FAST)
        peer = broker.next_session()
        eventually(lambda: session_field(store, "subscriptions"))
        store.command("SAVE")
        peer.publish("a", b"forgotten", 1, 1)
        peer.next_packet()
        valkey.kill9()
        valkey.start()
        peer.publish("a", b"kept", 1, 2)
        assert peer.is_closed_by_client()
        peer = broker.next_peer()
        peer.accept(session_present=True)
        peer.publish("a", b"kept", 1, 2)
        peer.next_packet()

        eventually(lambda: [each.payload for each in inbox(store)] == [b"kept"])
    assert "durability.reduced" in ingest.output
    assert "lease.lost" in ingest.output


def test_it_waits_for_a_redis_that_is_not_there_yet(tmp_path: Path, headrace: Start) -> None:
    """It says so once, and is ready when Redis is."""
    with ValkeyServer(tmp_path / "valkey") as valkey:
        ingest = headrace("ingest", REDIS_URL=valkey.url, **FAST)
        eventually(lambda: "store.unavailable" in ingest.output)
        assert "ready" not in ingest.output
        valkey.start()
        ingest.wait_ready()

    assert ingest.output.count("store.unavailable") == 1
