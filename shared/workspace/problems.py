"""What is wrong with a workspace folder: every problem with its place, collected, then told together."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

import msgspec

from shared.errors import WorkspaceError


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong. `file` is relative to the folder, `line` counts from 1 (0: the whole file)."""

    file: str
    line: int
    key: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        what = f"{self.key}: {self.message}" if self.key else self.message
        return f"{place}: {what}" + (f"\n    {self.hint}" if self.hint else "")


class Problems:
    """Collects. Errors forbid the deployment, warnings say what can go wrong with it, notes what is left out."""

    def __init__(self) -> None:
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []
        self.notes: list[Problem] = []

    def error(self, file: str, line: int, key: str, message: str, hint: str = "") -> None:
        """Add what has to be mended before the folder can be deployed."""
        self.errors.append(Problem(file, line, key, message, hint))

    def warn(self, file: str, line: int, key: str, message: str, hint: str = "") -> None:
        """Add what the author should know."""
        self.warnings.append(Problem(file, line, key, message, hint))

    def note(self, file: str, line: int, key: str, message: str) -> None:
        """Add what is done otherwise than the author may think."""
        self.notes.append(Problem(file, line, key, message))

    def check(self, folder: str, therefore: str = "nothing was deployed") -> None:
        """Raise one WorkspaceError that tells all errors, in order of file and line; do nothing without errors."""
        if not self.errors:
            return
        found = in_order(self.errors)
        count = "1 problem" if len(found) == 1 else f"{len(found)} problems"
        lines = "\n".join(f"  {line}" for problem in found for line in str(problem).split("\n"))
        first = found[0]
        raise WorkspaceError(
            f"{count} in {folder}, {therefore}\n{lines}",
            file=first.file,
            line=first.line,
            key=first.key,
            problems=found,
        )


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """By file and line."""
    return sorted(problems, key=lambda problem: (problem.file, problem.line))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint that names the nearest known name; empty if none is near."""
    close = get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else ""
