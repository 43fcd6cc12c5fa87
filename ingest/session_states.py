"""The life of one connection of an MQTT session, as a table. Everything about transitions lives in this file.

A cell says where an input leads. An absent cell is an error: the peer's, if a packet came that has no place there (the
connection ends with reason 0x82); ours, if a method was called that makes no sense there (InternalError).

| state | what it waits for |
|---|---|
| closed | `connect` |
| connecting | CONNACK |
| opening | the store's answer that a new epoch has begun: before it, nothing may be subscribed |
| subscribing | the store's answer that it knows what will be asked, then SUBACK and UNSUBACK; messages flow already |
| established | messages |
| draining | the store's outstanding answers, then DISCONNECT; what still comes stays unacknowledged and comes again |
"""

from __future__ import annotations

import enum

from shared.errors import InternalError


class State(enum.Enum):
    """Where a connection is."""

    CLOSED = "closed"
    CONNECTING = "connecting"
    OPENING = "opening"
    SUBSCRIBING = "subscribing"
    ESTABLISHED = "established"
    DRAINING = "draining"


class Input(enum.Enum):
    """What moves it."""

    CONNECT = "connect"
    FRESH = "CONNACK, new session"
    RESUMED = "CONNACK, session present"
    REFUSED = "CONNACK, refused"
    PURGED = "CONNACK, old session ended"
    EPOCH = "epoch begun"
    ASKED = "subscriptions to change"
    AGREED = "nothing left to ask"
    PUBLISH = "PUBLISH"
    PUBREL = "PUBREL"
    SUBACK = "SUBACK"
    UNSUBACK = "UNSUBACK"
    PINGRESP = "PINGRESP"
    DISCONNECT = "DISCONNECT from the broker"
    DRAIN = "drain"
    DRAINED = "all stored and acknowledged"
    END = "lost, malformed, silent or fenced"


def _flow(state: State) -> dict[Input, State]:
    """What may come at any time once the broker has accepted us, and leads nowhere else."""
    flowing = (Input.PUBLISH, Input.PUBREL, Input.SUBACK, Input.UNSUBACK, Input.PINGRESP)
    return dict.fromkeys(flowing, state)


_ENDS = {Input.DISCONNECT: State.CLOSED, Input.END: State.CLOSED}

TRANSITIONS: dict[State, dict[Input, State]] = {
    State.CLOSED: {Input.CONNECT: State.CONNECTING, Input.DRAIN: State.CLOSED, Input.END: State.CLOSED},
    State.CONNECTING: {
        Input.FRESH: State.OPENING,
        Input.RESUMED: State.SUBSCRIBING,
        Input.REFUSED: State.CLOSED,
        Input.PURGED: State.CLOSED,
        Input.DRAIN: State.CLOSED,
        **_ENDS,
    },
    State.OPENING: {
        **_flow(State.OPENING),
        Input.EPOCH: State.SUBSCRIBING,
        Input.DRAIN: State.DRAINING,
        **_ENDS,
    },
    State.SUBSCRIBING: {
        **_flow(State.SUBSCRIBING),
        Input.ASKED: State.SUBSCRIBING,
        Input.AGREED: State.ESTABLISHED,
        Input.DRAIN: State.DRAINING,
        **_ENDS,
    },
    State.ESTABLISHED: {
        **_flow(State.ESTABLISHED),
        Input.ASKED: State.SUBSCRIBING,
        Input.AGREED: State.ESTABLISHED,
        Input.DRAIN: State.DRAINING,
        **_ENDS,
    },
    State.DRAINING: {
        **_flow(State.DRAINING),
        Input.EPOCH: State.DRAINING,
        Input.DRAIN: State.DRAINING,
        Input.DRAINED: State.CLOSED,
        **_ENDS,
    },
}

RECEIVING = frozenset({State.OPENING, State.SUBSCRIBING, State.ESTABLISHED})
"""States in which messages are taken in."""


def following(state: State, happened: Input) -> State | None:
    """Where the input leads; None: it has no place in this state."""
    return TRANSITIONS[state].get(happened)


def next_state(state: State, happened: Input) -> State:
    """The same where only our own mistake could leave the table. Raises InternalError."""
    if (following_state := TRANSITIONS[state].get(happened)) is None:
        raise InternalError(
            f"the MQTT session is {state.value}, '{happened.value}' has no place there",
            state=state.value,
            input=happened.value,
        )
    return following_state
