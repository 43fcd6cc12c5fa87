"""After a connection: what its end means, and when to try again. Pure.

Nothing stops a session for good. What is likely to pass is tried again soon, then ever more rarely; what a person has
to mend is tried at a slow, steady pace, with its reason in the status.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from ingest.session_events import (
    Closed,
    Malformed,
    ProtocolRefused,
    Purged,
    Refused,
    ServerDisconnect,
    SessionEvent,
    Silent,
    TakenOver,
)
from shared.backoff import full_jitter, steady
from shared.config import IngestSettings

STABLE_S = 5.0
"""A connection that lasted so long ends a row of failures."""

EndState = Literal["reconnecting", "refused", "taken over", "next step"]


class Ending(msgspec.Struct, frozen=True):
    """Why a connection ended, and what that makes of the session. `next step`: it ended as it was meant to."""

    state: EndState
    reason: str
    reason_code: int | None = None


_SPOKEN: dict[type, Ending] = {
    TakenOver: Ending("taken over", "another client connected with our client id"),
    Purged: Ending("next step", "the old session is ended"),
}


def ending_of(event: SessionEvent, *, falls_back: bool) -> Ending | None:
    """What an event says about the end of the connection; None: nothing.

    `falls_back`: the trigger leaves the protocol version to us.
    """
    match event:
        case Refused() | ServerDisconnect():
            return Ending("refused" if event.permanent else "reconnecting", event.reason, event.reason_code)
        case Malformed():
            return Ending("refused" if event.stuck else "reconnecting", event.detail, event.reason_code)
        case ProtocolRefused():
            return Ending("next step" if falls_back else "refused", "the broker does not speak MQTT 5")
        case Silent():
            return Ending("reconnecting", f"the broker did not answer {event.to}")
        case Closed():
            return Ending("reconnecting", event.reason)
        case _:
            return _SPOKEN.get(type(event))


def delay_s(ending: Ending, attempt: int, settings: IngestSettings, random: Callable[[], float]) -> float:
    """Seconds until the next try; `attempt` counts failures in a row, from 1."""
    if ending.state == "next step":
        return 0.0
    if ending.state == "reconnecting":
        return full_jitter(attempt, settings.reconnect_initial_s, settings.reconnect_max_s, random)
    return steady(settings.refused_min_s, settings.refused_max_s, random)
