"""`headrace runs logs`: what the code has printed, of each attempt; live where it still runs."""

from __future__ import annotations

import sys
import time
from typing import Final

import click

from shared.cli_common import connected, settings
from shared.log_tail import LogPart, LogTail
from shared.tables import printable_lines

NEWLINE: Final = "\n"
_LOOK_EVERY_S: Final = 0.25


@click.command("logs")
@click.argument("run_id", metavar="ID")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run has ended, and show what it prints meanwhile.")
def logs(run_id: str, *, follow: bool) -> None:
    """Show the log of each attempt of a run; of one that runs, what it has printed so far.

    What a run prints can be seen before its end once it has run for half a second.
    """
    with connected(settings().redis_url) as store:
        tail, page = LogTail(run_id), _Page()
        while True:
            parts, is_live = tail.read(store)
            for part in parts:
                page.show(part)
            if not (is_live and follow):
                return
            time.sleep(_LOOK_EVERY_S)


class _Page:
    """What is on the screen so far."""

    def __init__(self) -> None:
        self._has_followed = False
        self._last = NEWLINE

    def show(self, part: LogPart) -> None:
        """Write it, under a line that names its attempt or step; a run with one attempt has none."""
        what = f"step {part.step}" if part.step else f"attempt {part.attempt}, {part.state}"
        if part.is_first and (part.step or part.attempt > 1 or self._has_followed):
            click.echo(f"{'' if self._last == NEWLINE else NEWLINE}--- {what}")
            self._last = NEWLINE
        self._has_followed = self._has_followed or part.state == "running"
        if part.text:
            is_screen = sys.stdout.isatty()
            shown = "".join(map(_harmless, part.text.splitlines(keepends=True))) if is_screen else part.text
            click.echo(shown, nl=False)
            sys.stdout.flush()
            self._last = part.text[-1]


def _harmless(line: str) -> str:
    """A line without control characters, for a terminal."""
    return printable_lines(line) + (NEWLINE if line.endswith(NEWLINE) else "")
