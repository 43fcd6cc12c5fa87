"""What is shown of a session that was left behind."""

from __future__ import annotations

from typing import Any

import pytest

from shared.definitions import Broker, Trigger
from shared.left import FOR_EVER_S, WEEK_S, Left, LeftEntry, encode_left
from shared.scripts.operate import SessionSnapshot
from shared.sessions import SessionRow, left_row
from tests.support.factories import make_trigger

AT = 1_767_323_045_000


def row(
    trigger: Trigger | None = None, fields: dict[str, str] | None = None, lease: str = "", now: int = AT, **left: Any
) -> SessionRow:
    """The row of a session that was left at AT."""
    values: dict[str, Any] = {"why": "deleted", "at": AT}
    record = Left("f/demo/hello", "tv", "bv", "headrace-test", 1, **(values | left))
    entry = LeftEntry(record, encode_left(record), Broker("f/b", "here.example", 1883))
    return left_row("s1", entry, trigger or make_trigger(), SessionSnapshot(fields or {}, lease, 2), now)


@pytest.mark.parametrize(
    "fields, expected_s",
    [
        ({}, WEEK_S),
        ({"limits": '{"session_expiry_s":60}'}, 60),
        ({"limits": '{"session_expiry_s":null}', "since": str(AT + 1000)}, WEEK_S + 1),
    ],
)
def test_messages_wait_until_the_broker_lets_the_session_expire(fields: dict[str, str], expected_s: int) -> None:
    """Counted from the end of the connection; what the broker has granted wins."""
    found, later = row(fields=fields), row(fields=fields, now=AT + expected_s * 1000 + 1)

    assert (found.waits, later.waits) == ("until", "expired")
    assert found.until == later.until


def test_a_session_of_3_1_1_lasts_as_long_as_the_broker_pleases() -> None:
    """There is nothing in the protocol about it; on MQTT 5 it may be for ever."""
    assert row(fields={"protocol": "4"}).waits == "as long as the broker keeps them"
    assert row(make_trigger(session_expiry_interval=FOR_EVER_S), now=AT + 10**15).waits == "for ever"


def test_a_wish_is_shown_with_how_far_it_is() -> None:
    """Nobody may have taken it up yet; and what keeps it from being done is told."""
    waiting = row(wish="drain")
    held = row(wish="drain", lease="3 host", fields={"admitted": "12"}, admitted=5)
    stuck = row(wish="end", lease="3 host", fields={"state": "refused", "reason": "not authorized"})

    assert (waiting.state, waiting.reason) == ("draining", "no ingest process has taken it up yet")
    assert (held.state, held.drained, held.reason) == ("draining", 7, None)
    assert (stuck.state, stuck.reason) == ("refused", "not authorized")


def test_a_disabled_trigger_keeps_its_session() -> None:
    """It is called so, until it is asked to end."""
    assert row(why="disabled").state == "disabled"
    assert row(why="disabled", wish="end").state == "ending"
    assert row().state == "left"
