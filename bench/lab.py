"""What every measurement gets: folders of its own, a place to say how far it is, and how often to repeat."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.servers import Unmeasurable
from bench.table import Missing, Row


class Lab:
    """One run of the bench. `rounds`: how often each figure is measured, in turn with what is beside it."""

    def __init__(self, root: Path, rounds: int) -> None:
        self.rounds = rounds
        self._root = root
        self._folders = 0
        self._begun = time.monotonic()

    def folder(self) -> Path:
        """A new, empty folder."""
        self._folders += 1
        folder = self._root / str(self._folders)
        folder.mkdir()
        return folder

    def say(self, text: str) -> None:
        """Show on stderr how far the bench is."""
        sys.stderr.write(f"{time.monotonic() - self._begun:5.0f} s  {text}\n")

    def each_round(
        self, what: str, *measurements: Callable[[], float], prepare: Callable[[], None] | None = None
    ) -> list[list[float]]:
        """Measure all of them in turn, in every round, after its preparation; the values of each.

        Every other round goes backwards, so that none always follows the same one.
        """
        values: list[list[float]] = [[] for _ in measurements]
        for number in range(self.rounds):
            self.say(f"{what}, round {number + 1} of {self.rounds}")
            if prepare is not None:
                prepare()
            pairs = list(zip(values, measurements, strict=True))
            for kept, measurement in pairs if number % 2 == 0 else reversed(pairs):
                kept.append(measurement())
        return values

    def rows(self, what: str, measure: Callable[[], Sequence[Row]]) -> Sequence[Row | Missing]:
        """The rows of a measurement, or why there are none."""
        try:
            return measure()
        except Unmeasurable as error:
            self.say(f"{what} left out: {error}")
            return [Missing(what, str(error))]
