"""What a worker does beside executing: small things, each every so many seconds."""

from __future__ import annotations

import time
from collections.abc import Callable


class _Chore:
    __slots__ = ("due_at", "every_s", "work")

    def __init__(self, every_s: float, work: Callable[[], bool | None]) -> None:
        self.every_s = every_s
        self.work = work
        self.due_at = 0.0


class Chores:
    """Runs what is due, in the loop's thread. One that answers True has more to do and is due again at once."""

    def __init__(self) -> None:
        self._chores: list[_Chore] = []

    def add(self, every_s: float, work: Callable[[], bool | None]) -> None:
        """Do this every `every_s` seconds, for the first time at once."""
        self._chores.append(_Chore(every_s, work))

    @property
    def due_in_s(self) -> float:
        """Seconds until something is due, negative if it is."""
        return min(chore.due_at for chore in self._chores) - time.monotonic()

    def run_due(self) -> None:
        """Do what is due, each once. Costs next to nothing when nothing is."""
        now = time.monotonic()
        for chore in self._chores:
            if now >= chore.due_at:
                chore.due_at = now if chore.work() else now + chore.every_s
