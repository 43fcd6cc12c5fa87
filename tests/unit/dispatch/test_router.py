"""Which runnables a message is for."""

from __future__ import annotations

from dispatch.router import CompiledTrigger
from shared.definitions import Runnable, Topic
from tests.support.factories import RUNNABLE, make_envelope, make_trigger

OTHER = Runnable("f/demo/other", "0000000000000000", 10)


def paths(trigger: CompiledTrigger, topic: str, filters: list[int]) -> list[str]:
    """Paths of the runnables for a message on this topic."""
    return [route.runnable.path for route in trigger.route(make_envelope(topic=topic, filters=filters))]


def test_overlapping_filters_of_one_runnable_run_it_once() -> None:
    """However many of them match."""
    trigger = CompiledTrigger(make_trigger(Topic("a/#", 1), Topic("a/+/c", 2)))

    assert paths(trigger, "a/b/c", [1, 0]) == [RUNNABLE.path]


def test_a_topic_with_its_own_runnable_runs_it_beside_the_triggers() -> None:
    """Each runnable that the matching filters name runs once, best filter first."""
    runnables = {RUNNABLE.path: RUNNABLE, OTHER.path: OTHER}
    trigger = CompiledTrigger(make_trigger(Topic("a/#", 1), Topic("a/+/c", 2, OTHER.path), runnables=runnables))

    assert paths(trigger, "a/b/c", [1, 0]) == [OTHER.path, RUNNABLE.path]
    assert paths(trigger, "a/b", [0]) == [RUNNABLE.path]


def test_without_named_filters_the_topic_decides() -> None:
    """Brokers without subscription identifiers name none."""
    trigger = CompiledTrigger(make_trigger(Topic("a/+", 1)))

    assert paths(trigger, "a/b", []) == [RUNNABLE.path]
    assert paths(trigger, "b", []) == []


def test_a_filter_that_does_not_match_is_not_believed() -> None:
    """An index that this version does not have, or that asks for something else, routes nothing by itself."""
    trigger = CompiledTrigger(make_trigger(Topic("a/+", 1)))

    assert paths(trigger, "b", [0, 5]) == []


def test_named_levels_are_captured_from_the_filter_that_led_there() -> None:
    """The code is handed them."""
    trigger = CompiledTrigger(make_trigger(Topic("plant/{site}/temp", 1)))

    (route,) = trigger.route(make_envelope(topic="plant/north/temp"))
    assert route.captures == {"site": "north"}
