"""Runs on a captured message: as one that came, under no session, outside the identities."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from shared import keys
from shared.definitions import Runnable, Topic, Trigger
from shared.errors import UserError
from shared.event import mqtt_event
from shared.history import show
from shared.run_on import read_event, run_on
from shared.store import Store
from tests.support.console import deploy

PATH = "f/t/tanks"
EVENT = {
    "kind": "mqtt", "trigger_path": PATH, "topic": "t/7/level", "payload": base64.b64encode(b"\xff 21").decode(),
    "qos": 2, "retain": True, "pkid": 9,
    "v5": {"content_type": "text/plain", "correlation_data": [1, 255], "user_properties": [["a", "b"]],
           "response_topic": None, "topic_alias": None, "payload_format_indicator": None,
           "subscription_identifiers": [3]},
}  # fmt: skip


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    """A Redis in which a trigger with two runnables is deployed."""
    store = Store.connect(redis_url)
    runnables = {path: Runnable(path, "0" * 16, 60) for path in ("f/t/one", "f/t/two")}
    topics = [Topic("t/{tank}/level", 2), Topic("t/#", 1, "f/t/two"), Topic("elsewhere", 1)]
    deploy(store, Trigger(PATH, "session", "client", "f/t/broker", "f/t/one", runnables, topics))
    yield store
    store.close()


def test_each_runnable_that_the_message_is_for_gets_it_as_it_came(store: Store) -> None:
    """With the named levels of its topic, and its properties."""
    made = run_on(store, PATH, read_event({"trigger": PATH, "event": EVENT, "main": {}}))
    one, two = (show(store, run_id) for run_id in made)
    assert (one.run.runnable, one.captures) == ("f/t/one", {"tank": "7"})
    assert (two.run.runnable, two.captures) == ("f/t/two", {})
    assert one.message is not None
    assert one.message.payload == b"\xff 21"
    seen = mqtt_event(one.message)
    assert {name: seen[name] for name in ("topic", "qos", "retain")} == {"topic": "t/7/level", "qos": 2, "retain": True}
    assert seen["v5"]["user_properties"] == [("a", "b")]
    assert seen["v5"]["correlation_data"] == [1, 255]
    assert seen["v5"]["subscription_identifiers"] == [3]


def test_the_runs_are_listed_under_the_trigger_and_counted_nowhere(store: Store) -> None:
    """They were made by a person."""
    (first, _) = run_on(store, PATH, read_event(EVENT))
    assert show(store, first).origin == "api"
    assert store.command("ZCARD", keys.runs(PATH)) == 2
    assert not store.command("EXISTS", keys.counters(PATH))


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({**EVENT, "topic": "other/topic"}, "no topic of f/t/tanks matches other/topic"),
        ({**EVENT, "payload": "%%%"}, "is not base64"),
        ({**EVENT, "qos": 3}, "no captured message"),
        ({**EVENT, "kind": "http"}, "no captured message"),
        ({**EVENT, "v5": {"correlation_data": [256]}}, r"at `\$\.v5\.correlation_data"),
        ([1], "no captured message"),
        (None, "no captured message"),
    ],
)
def test_what_is_no_message_of_the_trigger_makes_no_run(store: Store, wrong: Any, said: str) -> None:
    """And is told why."""
    with pytest.raises(UserError, match=said):
        run_on(store, PATH, read_event(wrong))
    assert not store.command("EXISTS", keys.RUNS)
