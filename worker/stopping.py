"""Being asked to stop: by signal, once for an orderly end, twice for a quick one."""

from __future__ import annotations

import signal
import time
from types import FrameType

ECHO_S = 1.0
"""A second signal this soon after the first is the same wish: a terminal and a process manager both pass it on."""


class StopRequest:
    """Set by SIGTERM and SIGINT. What has started may go on for `grace_s`, or until the signal is repeated."""

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._asked_at: float | None = None
        self._forced = False

    @property
    def requested(self) -> bool:
        """Take nothing new."""
        return self._asked_at is not None

    @property
    def expired(self) -> bool:
        """Wait for nothing any more."""
        return self._asked_at is not None and (self._forced or time.monotonic() > self._asked_at + self._grace_s)

    def install(self) -> None:
        """Listen for the signals from now on; main thread only."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._asked_at is None:
            self._asked_at = now
        elif now > self._asked_at + ECHO_S:
            self._forced = True
