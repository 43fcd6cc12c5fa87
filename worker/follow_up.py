"""What becomes of runs after they have ended: those to be tried again are queued in time, error handlers are called."""

from __future__ import annotations

import time

from shared.clock import iso_utc
from shared.scripts.worker import promote
from worker.error_handlers import ErrorHandlers
from worker.uplink import Uplink

FOLLOW_UP_EVERY_S = 0.5
"""A retry is promised within a second of its time."""
AT_ONCE = 500


class FollowUp:
    """Any number of workers may do it at once. It takes one round trip where nothing is to be done."""

    def __init__(self, uplink: Uplink, handlers: ErrorHandlers) -> None:
        self._uplink = uplink
        self._handlers = handlers

    def run(self) -> bool:
        """One step; True when there may be more to do."""
        call = promote(iso_utc(time.time_ns()), AT_ONCE)
        done = self._uplink.attempt(lambda store: store.run(call))
        if done is None:
            return False
        more = done.unhandled > 0 and self._handlers.call()
        return more or done.queued == AT_ONCE
