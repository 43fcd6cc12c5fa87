"""Messages from a real broker to the inbox: every QoS, both protocol versions, all fields, overlaps, deployments."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties

from shared.definitions import Topic
from shared.envelope import Properties
from shared.store import Store
from tests.support.eventually import eventually
from tests.support.factories import TRIGGER, counters
from tests.support.ingest import (
    FAST,
    deploy_trigger,
    inbox,
    inbox_keys,
    inbox_length,
    is_subscribed,
    send,
    session_field,
    session_state,
)
from tests.support.mosquitto import Mosquitto
from tests.support.processes import HeadraceProcess

Start = Callable[..., HeadraceProcess]


def start(headrace: Start, redis_url: str, store: Store, **env: str) -> HeadraceProcess:
    """Start ingest, and wait until the trigger's session is subscribed."""
    ingest = headrace("ingest", REDIS_URL=redis_url, **(FAST | env)).wait_ready()
    eventually(lambda: is_subscribed(store))
    return ingest


@pytest.mark.parametrize("version", ["v5", "v3"])
def test_messages_of_every_qos_reach_the_inbox_once(
    version: str, store: Store, redis_url: str, headrace: Start, mosquitto: Mosquitto
) -> None:
    """In order, with the QoS of their delivery and keys that count up."""
    deploy_trigger(store, mosquitto.port, Topic("q0", 0), Topic("q1", 1), Topic("q2", 2), client_version=version)
    start(headrace, redis_url, store)
    send(mosquitto.port, *[(f"q{qos}", f"{i}", 2) for i in range(20) for qos in (0, 1, 2)])

    eventually(lambda: inbox_length(store) == 60)
    assert [(each.topic, each.qos, each.payload) for each in inbox(store)] == [
        (f"q{qos}", qos, b"%d" % i) for i in range(20) for qos in (0, 1, 2)
    ]
    assert inbox_keys(store) == [f"abcdefgh-1-{n}" for n in range(1, 61)]
    assert counters(store) == {"received": 60, "admitted": 60, "inbox": 60}
    eventually(lambda: not store.command("EXISTS", "headrace:session:abcdefgh:inflight"))


def test_every_field_of_a_publish_is_kept(store: Store, redis_url: str, headrace: Start, mosquitto: Mosquitto) -> None:
    """Properties as they were sent, user properties in their order, repeated names included."""
    version = deploy_trigger(store, mosquitto.port, Topic("plant/+/temp", 1))
    start(headrace, redis_url, store)
    sent = PahoProperties(PacketTypes.PUBLISH)
    sent.PayloadFormatIndicator = 1
    sent.MessageExpiryInterval = 3600
    sent.ContentType = "text/plain"
    sent.ResponseTopic = "answers/here"
    sent.CorrelationData = b"\x00\xff\x01"
    sent.UserProperty = [("b", "1"), ("a", "2"), ("b", "3")]
    send(mosquitto.port, ("plant/7/temp", "grün".encode(), 1), properties=sent)

    (got,) = eventually(lambda: inbox(store))
    assert (got.trigger, got.topic, got.payload, got.qos) == (version.path, "plant/7/temp", "grün".encode(), 1)
    assert (got.retain, got.dup, got.protocol, got.filters) == (False, False, 5, [0])
    assert got.packet_id > 0
    assert got.properties is not None
    assert got.properties.message_expiry_interval in {3599, 3600}
    assert got.properties == Properties(
        payload_format_indicator=1,
        message_expiry_interval=got.properties.message_expiry_interval,
        content_type="text/plain",
        response_topic="answers/here",
        correlation_data=b"\x00\xff\x01",
        subscription_identifiers=got.properties.subscription_identifiers,
        user_properties=[("b", "1"), ("a", "2"), ("b", "3")],
    )


def test_overlapping_filters_admit_a_message_once(
    store: Store, redis_url: str, headrace: Start, mosquitto: Mosquitto
) -> None:
    """The copy of the filter with the higher QoS counts, the other is a duplicate."""
    deploy_trigger(store, mosquitto.port, Topic("a/#", 1), Topic("a/+/c", 2), client_version="v5")
    start(headrace, redis_url, store)
    send(mosquitto.port, *[("a/b/c", f"{i}", 2) for i in range(50)], ("a/x", "last", 2))

    eventually(lambda: b"last" in [each.payload for each in inbox(store)])
    eventually(lambda: counters(store).get("received") == 101)
    both = [each for each in inbox(store) if each.topic == "a/b/c"]
    assert sorted(int(each.payload) for each in both) == list(range(50))
    assert {each.qos for each in both} == {2}


def test_a_deployment_changes_subscriptions_without_reconnecting(
    store: Store, redis_url: str, headrace: Start, mosquitto: Mosquitto
) -> None:
    """A filter is added on the open connection; envelopes carry the new version."""
    deploy_trigger(store, mosquitto.port, Topic("a", 1))
    start(headrace, redis_url, store)
    before = session_field(store, "connection")
    send(mosquitto.port, ("a", "1", 1))
    eventually(lambda: inbox_length(store) == 1)
    deploy_trigger(store, mosquitto.port, Topic("a", 1), Topic("b", 2))
    eventually(lambda: '"b"' in session_field(store, "subscriptions"))
    send(mosquitto.port, ("a", "2", 1), ("b", "3", 2))

    eventually(lambda: inbox_length(store) == 3)
    first, second, third = inbox(store)
    assert session_field(store, "connection") == before
    assert first.trigger_version != second.trigger_version == third.trigger_version


def test_a_disabled_trigger_gives_its_session_back(
    store: Store, redis_url: str, headrace: Start, mosquitto: Mosquitto
) -> None:
    """The broker keeps the session, and what came in the meantime arrives when it is enabled again."""
    deploy_trigger(store, mosquitto.port, Topic("a", 1))
    start(headrace, redis_url, store)
    deploy_trigger(store, mosquitto.port, Topic("a", 1), enabled=False)
    eventually(lambda: session_state(store) == "disabled")
    eventually(lambda: not store.command("EXISTS", "headrace:lease:abcdefgh"))
    send(mosquitto.port, ("a", "meanwhile", 1))
    deploy_trigger(store, mosquitto.port, Topic("a", 1))

    assert eventually(lambda: inbox(store))[0].payload == b"meanwhile"


def test_a_broker_that_restarts_is_found_again(
    store: Store, redis_url: str, headrace: Start, mosquitto: Mosquitto
) -> None:
    """Stopped in good order it keeps the session, so nothing is subscribed or admitted twice."""
    deploy_trigger(store, mosquitto.port, Topic("a", 2))
    start(headrace, redis_url, store)
    send(mosquitto.port, ("a", "before", 2))
    eventually(lambda: inbox_length(store) == 1)
    mosquitto.sigterm()
    eventually(lambda: session_state(store) == "reconnecting")
    assert session_field(store, "reason")
    mosquitto.start()
    eventually(lambda: session_state(store) == "connected")
    send(mosquitto.port, ("a", "after", 2))

    eventually(lambda: inbox_length(store) == 2)
    assert [each.payload for each in inbox(store)] == [b"before", b"after"]
    assert session_field(store, "epoch") == "1"


def test_a_backlog_is_resent_before_the_subscription_is_answered(
    store: Store, redis_url: str, headrace: Start, mosquitto: Mosquitto
) -> None:
    """7000 messages wait in the broker's session while a deployment has made a new SUBSCRIBE necessary."""
    deploy_trigger(store, mosquitto.port, Topic("a", 2))
    ingest = start(headrace, redis_url, store)
    assert ingest.sigterm() == 0
    send(mosquitto.port, *[("a", f"{i}", 2) for i in range(7000)])
    deploy_trigger(store, mosquitto.port, Topic("a", 2), Topic("b", 1))
    ingest.start()

    eventually(lambda: inbox_length(store) == 7000, 60)
    assert [int(each.payload) for each in inbox(store)] == list(range(7000))
    eventually(lambda: '"b"' in session_field(store, "subscriptions"))
    assert counters(store, TRIGGER)["received"] == 7000


def test_a_full_inbox_holds_the_broker_back(
    store: Store, redis_url: str, headrace: Start, mosquitto: Mosquitto
) -> None:
    """Reading pauses and goes on as the inbox is emptied; nothing is lost."""
    deploy_trigger(store, mosquitto.port, Topic("a", 1), receive_maximum=20)
    limits = {"HEADRACE_INGEST__MAX_INBOX": "50", "HEADRACE_INGEST__MAX_BUFFERED_BYTES": "100000"}
    start(headrace, redis_url, store, **limits)
    send(mosquitto.port, *[("a", b"x" * 10_000, 1)] * 400)
    taken: list[int] = []
    lengths: list[int] = []

    def take() -> bool:
        lengths.append(inbox_length(store))
        for entry, fields in store.command("XRANGE", "headrace:inbox", "-", "+"):
            taken.append(int(fields[b"k"].rpartition(b"-")[2]))
            store.command("XDEL", "headrace:inbox", entry)
        return len(taken) == 400

    eventually(take, 30, interval_s=0.2)
    assert taken == list(range(1, 401))
    assert max(lengths) < 200
