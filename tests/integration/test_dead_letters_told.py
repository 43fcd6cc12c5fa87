"""Dead letters are published to the topic that the workspace names: once each, with all that is known of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from shared import keys
from shared.definitions import DeadTopic, Topic
from shared.scripts import worker as verbs
from shared.scripts.worker import Ending, Limits
from shared.store import Store
from tests.support.eventually import eventually
from tests.support.factories import NOW_ISO, NOW_MS, TRIGGER, counters, place_runs
from tests.support.ingest import BROKER, FAST, deploy_trigger, is_subscribed, send
from tests.support.listener import Listener, user_properties
from tests.support.mosquitto import Mosquitto
from tests.support.processes import HeadraceProcess
from tests.support.valkey import ValkeyServer

Start = Callable[..., HeadraceProcess]
RUN = "q1-placedrun-1-1"
TOPIC = f"plant/dead/{TRIGGER}"


@pytest.fixture
def store(own_valkey: ValkeyServer) -> Iterator[Store]:
    """A store on an empty server of the test's own."""
    store = Store.connect(own_valkey.url)
    yield store
    store.close()


def fail(store: Store, run_id: str) -> None:
    """Have a worker record that the run has failed."""
    place_runs(store, run_id)
    store.run(verbs.beat("w1", 60_000))
    claims = store.run(verbs.claim("w1", "w1-1", 1, 1 << 20)).claims
    store.run(verbs.start("w1", NOW_ISO, claims))
    error = '{"name":"ValueError","message":"too hot","stack":""}'
    ending = Ending(run_id, claims[0].execution, "failed", error=error)
    store.run(verbs.finish("w1", NOW_ISO, NOW_MS, Limits(3, 1000), 0, [ending]))


def test_runs_and_messages_that_ended_badly_are_told_of(
    store: Store, own_valkey: ValkeyServer, headrace: Start, mosquitto: Mosquitto
) -> None:
    """With the message's payload and properties, and why it is dead."""
    topic = DeadTopic(BROKER, "plant")
    deploy_trigger(store, mosquitto.port, Topic("in", 1), dead_topic=topic, max_payload=10)
    fail(store, RUN)
    with Listener(mosquitto.port, "plant/dead/#") as listener:
        headrace("ingest", REDIS_URL=own_valkey.url, **FAST)
        eventually(lambda: is_subscribed(store))
        send(mosquitto.port, ("in", b"x" * 20, 1))
        eventually(lambda: len(listener.messages) == 2)
    run, message = listener.messages
    told = user_properties(run)
    assert (run.topic, run.payload) == (TOPIC, b"21.5")
    names = ("dead-letter", "trigger", "reason", "error", "topic", "qos")
    assert [told[f"headrace-{name}"] for name in names] == [
        RUN, TRIGGER, "failed", "ValueError: too hot", "demo/hello", "1",
    ]  # fmt: skip
    assert (told["headrace-attempts"], told["headrace-first-at"][:10]) == ("1", "2026-01-02")
    told = user_properties(message)
    assert (message.topic, message.payload) == (TOPIC, b"x" * 20)
    assert (told["headrace-reason"], told["headrace-size"], told["headrace-topic"]) == ("oversized", "20", "in")
    assert store.command("LLEN", keys.DEAD_UNTOLD) == 0
    eventually(lambda: counters(store)["sent"] == 2)


def test_a_dead_letter_of_a_dead_letter_is_not_told_of(
    store: Store, own_valkey: ValkeyServer, headrace: Start, mosquitto: Mosquitto
) -> None:
    """A trigger that listens to dead letters, and refuses them, does not go round in circles."""
    topic = DeadTopic(BROKER, "plant")
    deploy_trigger(store, mosquitto.port, Topic("plant/dead/#", 1), Topic("in", 1), dead_topic=topic, max_payload=10)
    with Listener(mosquitto.port, "plant/dead/#") as listener:
        headrace("ingest", REDIS_URL=own_valkey.url, **FAST)
        eventually(lambda: is_subscribed(store))
        send(mosquitto.port, ("in", b"x" * 20, 1))
        eventually(lambda: counters(store).get("oversized") == 2)
        send(mosquitto.port, ("in", b"y" * 30, 1))
        eventually(lambda: counters(store).get("oversized") == 4)
        eventually(lambda: not store.command("LLEN", keys.DEAD_UNTOLD))
    assert listener.payloads == [b"x" * 20, b"y" * 30]


def test_without_a_topic_nothing_is_told(
    store: Store, own_valkey: ValkeyServer, headrace: Start, mosquitto: Mosquitto
) -> None:
    """And nothing is kept for later."""
    deploy_trigger(store, mosquitto.port, Topic("in", 1))
    fail(store, RUN)
    with Listener(mosquitto.port, "#") as listener:
        headrace("ingest", REDIS_URL=own_valkey.url, **FAST)
        eventually(lambda: is_subscribed(store) and not store.command("LLEN", keys.DEAD_UNTOLD))
    assert listener.messages == []
    assert "said" not in counters(store)
