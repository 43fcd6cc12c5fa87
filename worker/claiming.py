"""Claims of a worker: how it asks for them, and waits for something to claim."""

from __future__ import annotations

from typing import Any

from shared import keys
from shared.scripts.call import Call
from shared.scripts.worker import claim
from worker.uplink import Uplink

CLAIM_BYTES = 4 * 1024 * 1024
PEEK_MIN_S = 0.01
"""A time-out of 0 would be for ever."""


class Claiming:
    """Numbers the claims: each has execution ids of its own."""

    def __init__(self, uplink: Uplink) -> None:
        self._uplink = uplink
        self._claimed = 0

    @property
    def is_new(self) -> bool:
        """Nothing was claimed yet."""
        return self._claimed == 0

    def ask(self, count: int) -> list[Call[Any]]:
        """The call that claims so many; none for 0."""
        if count == 0:
            return []
        self._claimed += 1
        return [claim(self._uplink.name, f"{self._uplink.name}-{self._claimed}", count, CLAIM_BYTES)]

    def wait(self, at_most_s: float) -> None:
        """Block until there is something in the queue, without taking it: moved onto its own head, it stays there."""
        peek = ("BLMOVE", keys.RQ_QUEUE, keys.RQ_QUEUE, "LEFT", "LEFT", max(PEEK_MIN_S, at_most_s))
        if self._uplink.attempt(lambda store: store.commands([peek])) is None:
            self._uplink.nap()
