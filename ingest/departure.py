"""The way to the end of a session that was left behind: what to do next, and when. Pure.

| stage | what happens | it goes on |
|---|---|---|
| emptying | the session is resumed, what waits is taken in | when nothing has come for a while: subscriptions end |
| leaving | what the broker has yet to send is taken in | when nothing has come for longer: the connection ends |
| ending | a connection with clean start and no expiry ends the session at the broker | when it is accepted |
| over | | |

Subscriptions end only when the session seems empty, because a broker may then drop what it has not begun to send
(MQTT 5 §3.10.4). A connection that breaks leads back to the first stage. Whatever was done may be done again: a session
that is not there any more is found empty, and ended once more. That the broker has ended it is known from CONNACK;
DISCONNECT with an expiry of 0 would do the same, and nobody would know.
"""

from __future__ import annotations

import enum

import msgspec

from ingest.approach import Approach
from ingest.codec import Protocol
from ingest.handshake import ConnectStep
from ingest.session_events import Connected, Purged, SessionEvent, SessionRecord
from shared.definitions import Trigger
from shared.left import WEEK_S, Wish, expiry_s

SETTLE_S = 1.0
"""Silence after which the subscriptions end."""
EMPTYING_MAX_S = 60.0
"""They end then at the latest: where much is published, it is never silent."""
QUIET_S = 5.0
"""Silence after which nothing is awaited any more."""
UNFINISHED_S = 15.0
"""The same while QoS 2 messages wait for PUBREL. Some brokers never send it; the messages are stored."""


class Stage(enum.Enum):
    """Where it is."""

    EMPTYING = "emptying"
    LEAVING = "leaving"
    ENDING = "ending"
    OVER = "over"


class Act(enum.Enum):
    """What is to be done on the open connection."""

    UNSUBSCRIBE = enum.auto()
    DISCONNECT = enum.auto()


class Seen(msgspec.Struct, frozen=True):
    """What the connection shows: a number that grows with what comes, what is unfinished, and whether it can be judged.

    `busy`: what comes is not known at the moment, because answers are awaited or the broker is not read.
    """

    taken_in: int
    unfinished: int
    busy: bool


class Departure(Approach):
    """Decides the connections of a session that is left, and when each has done its work."""

    def __init__(self, wish: Wish) -> None:
        super().__init__()
        self.stage = Stage.EMPTYING if wish == "drain" else Stage.ENDING
        self._empty = False
        self._began_at: float | None = None
        self._quiet_since = 0.0
        self._taken_in = -1

    @property
    def over(self) -> bool:
        """The broker has no session any more."""
        return self.stage is Stage.OVER

    def happened(self, event: SessionEvent) -> None:
        """Take note of what the connection came to."""
        super().happened(event)
        match event:
            case Purged():
                self.stage = Stage.OVER
            case Connected():
                self.stage = Stage.EMPTYING
                self._empty = not event.session_present
                self._began_at = None

    def look(self, seen: Seen, now_s: float) -> Act | None:
        """What to do now, on a connection that the broker has accepted. To be asked several times a second."""
        if self.stage not in {Stage.EMPTYING, Stage.LEAVING}:
            return None
        if self._began_at is None:
            self._began_at = self._quiet_since = now_s
        if seen.busy or seen.taken_in != self._taken_in:
            self._taken_in, self._quiet_since = seen.taken_in, now_s
        quiet_s = now_s - self._quiet_since
        if self._empty:
            self.stage = Stage.ENDING
            return Act.DISCONNECT
        if self.stage is Stage.EMPTYING:
            if quiet_s < SETTLE_S and now_s - self._began_at < EMPTYING_MAX_S:
                return None
            self.stage, self._quiet_since = Stage.LEAVING, now_s
            return Act.UNSUBSCRIBE
        if quiet_s < (UNFINISHED_S if seen.unfinished else QUIET_S):
            return None
        self.stage = Stage.ENDING
        return Act.DISCONNECT

    def _plan(self, trigger: Trigger, record: SessionRecord, protocol: Protocol) -> list[ConnectStep]:
        del record
        if self.stage is Stage.ENDING:
            return [ConnectStep(protocol, clean_start=True, purge=True)]
        lifetime_s = expiry_s(trigger) or WEEK_S
        return [ConnectStep(protocol, clean_start=False, session_expiry_s=lifetime_s, lasting=True)]
