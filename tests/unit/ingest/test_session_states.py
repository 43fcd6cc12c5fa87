"""The table of states: complete, and nothing in it that cannot happen."""

from __future__ import annotations

import pytest

from ingest.session_states import RECEIVING, TRANSITIONS, Input, State, following, next_state
from shared.errors import InternalError


def test_every_state_has_a_row_and_can_be_reached() -> None:
    """Starting from closed."""
    reached, frontier = {State.CLOSED}, [State.CLOSED]
    while frontier:
        for state in set(TRANSITIONS[frontier.pop()].values()) - reached:
            reached.add(state)
            frontier.append(state)

    assert reached == set(State) == set(TRANSITIONS)


@pytest.mark.parametrize("state", State)
def test_a_connection_can_end_in_every_state(state: State) -> None:
    """It can be lost at any moment, and being asked to stop is never wrong."""
    assert TRANSITIONS[state][Input.END] is State.CLOSED
    assert Input.DRAIN in TRANSITIONS[state]


@pytest.mark.parametrize("state", sorted(RECEIVING, key=str))
def test_messages_flow_from_connack_on(state: State) -> None:
    """Brokers resend their backlog before they answer SUBSCRIBE."""
    assert TRANSITIONS[state][Input.PUBLISH] is state
    assert TRANSITIONS[state][Input.PUBREL] is state


def test_no_message_has_a_place_before_connack() -> None:
    """That is the broker's mistake."""
    assert following(State.CONNECTING, Input.PUBLISH) is None
    assert following(State.CLOSED, Input.PUBLISH) is None


def test_an_absent_cell_is_our_mistake_where_only_we_can_make_it() -> None:
    """It names state and input."""
    with pytest.raises(InternalError, match="closed, 'epoch begun'"):
        next_state(State.CLOSED, Input.EPOCH)
