"""When to send PINGREQ, and when a broker that is not heard counts as gone (MQTT 5 §3.1.2.10)."""

from __future__ import annotations

import enum

PING_AFTER = 0.75
"""Share of the keep-alive time without sending, after which a PINGREQ goes out; the broker allows one and a half."""
ANSWER_WITHIN = 0.5
"""Share of the keep-alive time in which anything at all has to be heard after a PINGREQ."""


class Due(enum.Enum):
    """What is to be done."""

    NOTHING = enum.auto()
    PING = enum.auto()
    GIVE_UP = enum.auto()


class KeepAlive:
    """The clock of one connection. Call `tick` a few times per keep-alive time; times in epoch milliseconds."""

    def __init__(self, keep_alive_s: int, now_ms: int) -> None:
        self._ping_after_ms = keep_alive_s * 1000 * PING_AFTER
        self._answer_within_ms = keep_alive_s * 1000 * ANSWER_WITHIN
        self._sent_at = now_ms
        self._wrote = False
        self._waiting_since: int | None = None

    def wrote(self) -> None:
        """Something was sent since the last tick, other than what the tick asked for."""
        self._wrote = True

    def heard(self) -> None:
        """Something came: the broker lives, though a PINGRESP may be stuck behind a backlog."""
        self._waiting_since = None

    def tick(self, now_ms: int, *, reading: bool) -> Due:
        """What is due now. While nothing is read, PINGREQs go on and an answer is not missed."""
        if self._wrote:
            self._wrote = False
            self._sent_at = now_ms
        if not reading:
            self._waiting_since = None
        elif self._waiting_since is not None and now_ms - self._waiting_since > self._answer_within_ms:
            return Due.GIVE_UP
        if not self._ping_after_ms or now_ms - self._sent_at < self._ping_after_ms:
            return Due.NOTHING
        self._sent_at = now_ms
        if reading and self._waiting_since is None:
            self._waiting_since = now_ms
        return Due.PING
