"""Copies of one message through overlapping filters, when a crash came before ingest knew which of them count."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from shared import keys
from shared.definitions import Topic
from shared.store import Store
from tests.support.eventually import eventually
from tests.support.factories import SESSION, counters
from tests.support.ingest import FAST, deploy_trigger, inbox, is_subscribed, send, session_field
from tests.support.mosquitto import Mosquitto
from tests.support.processes import HeadraceProcess

Start = Callable[..., HeadraceProcess]
TOPICS = (Topic("a/#", 2), Topic("a/+/c", 2))


def payloads(store: Store) -> list[bytes]:
    """What was admitted, in order."""
    return [each.payload for each in inbox(store)]


def test_killed_before_the_grants_are_on_record_it_still_triggers_once(
    store: Store, redis_url: str, headrace: Start, mosquitto: Mosquitto
) -> None:
    """The broker has subscribed and queues, Redis knows only what was asked for."""
    deploy_trigger(store, mosquitto.port, *TOPICS, client_version="v5")
    ingest = headrace("ingest", REDIS_URL=redis_url, **FAST).wait_ready()
    eventually(lambda: is_subscribed(store))
    ingest.kill9()
    asked = msgspec.json.decode(session_field(store, "subscriptions"))
    for each in asked["generations"][0]["filters"]:
        del each["granted"]
    store.command("HSET", keys.session(SESSION), "subscriptions", msgspec.json.encode(asked | {"connection": 0}))
    send(mosquitto.port, *[("a/b/c", f"{i}", 2) for i in range(50)], ("a/x", "last", 2))
    ingest.start()

    eventually(lambda: b"last" in payloads(store), timeout_s=30)
    eventually(lambda: counters(store).get("received") == 101, timeout_s=30)
    assert sorted(int(each) for each in payloads(store) if each != b"last") == list(range(50))
