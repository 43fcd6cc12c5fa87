"""Query parameters by which runs and dead letters are chosen."""

from __future__ import annotations

from typing import get_args

import pytest

from console.api.filters import DeadFilter, Reason, RunFilter, Source, State, dead_query, run_query
from shared.dead_list import REASONS, DeadQuery
from shared.errors import TopicError, UserError
from shared.run_query import SOURCES
from shared.runs import LIVE, TERMINAL


def test_every_state_and_every_reason_can_be_asked_for() -> None:
    """As the commands know them."""
    assert get_args(State) == (*LIVE, *TERMINAL)
    assert get_args(Reason) == REASONS
    assert get_args(Source) == SOURCES


def test_what_is_empty_or_absent_is_any() -> None:
    """As a form sends it."""
    empty = RunFilter(trigger="", runnable="", topic="", label="", error="", since="", until="")
    query = run_query(empty, 10)

    assert query == run_query(RunFilter(), 10)
    assert (query.trigger, query.topic, query.since, query.limit) == (None, None, None, 10)
    assert not RunFilter().is_narrowed
    assert RunFilter(state=["failed"]).is_narrowed
    assert dead_query(DeadFilter(trigger="", error="", since="", group="")) == DeadQuery()


def test_times_and_topics_are_read_as_the_commands_read_them() -> None:
    """So long ago, or ISO 8601; a topic filter with wildcards."""
    query = run_query(RunFilter(since="2026-01-01T00:00:00Z", topic="plant/+/t", state=["lost"]), 1)

    assert (query.since, query.states) == (1_767_225_600_000_000, frozenset({"lost"}))
    assert query.topic is not None
    with pytest.raises(UserError, match="not a time"):
        run_query(RunFilter(until="soon"), 1)
    with pytest.raises(TopicError):
        run_query(RunFilter(topic="a/#/b"), 1)
