"""`headrace runs logs`: what the code has printed, of each attempt; live where it still runs."""

from __future__ import annotations

import sys
import time
from typing import Final

import click

from shared import keys
from shared.cli_common import connected, settings
from shared.flow_tree import all_logs
from shared.history import show
from shared.run_record import Attempt
from shared.runs import LIVE
from shared.store import Store
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
        tail = _Tail(store, run_id)
        while tail.show() and follow:
            time.sleep(_LOOK_EVERY_S)


class _Tail:
    """What was shown of a run so far, and what comes next."""

    def __init__(self, store: Store, run_id: str) -> None:
        self._store = store
        self._run_id = run_id
        self._ended: set[str] = set()
        self._followed = ""
        self._shown = ""
        self._last = NEWLINE

    def show(self) -> bool:
        """Show what has come since; False once the run has ended."""
        execution, text = self._read_live()
        details = show(self._store, self._run_id)
        run = details.run
        for key, log in all_logs(details.steps):
            self._show_step(key, log)
        if details.steps:
            return run.state in LIVE
        before = run.attempts - (run.state == "running") - len(details.attempts)
        for number, attempt in enumerate(details.attempts, start=before + 1):
            if attempt.execution_id not in self._ended:
                self._ended.add(attempt.execution_id)
                self._show_ended(number, attempt)
        if execution and execution not in self._ended and run.state == "running":
            if self._followed != execution:
                self._head(run.attempts, "running")
                self._followed, self._shown = execution, ""
            self._write(text[len(self._shown) :])
            self._shown = text
        return run.state in LIVE

    def _show_ended(self, number: int, attempt: Attempt) -> None:
        """The log of an attempt as it is recorded: all of it, or what is left where it was followed."""
        if attempt.execution_id == self._followed and attempt.log.startswith(self._shown):
            self._write(attempt.log[len(self._shown) :])
            return
        self._head(number, attempt.outcome)
        self._write(attempt.log)

    def _show_step(self, key: str, log: str) -> None:
        """The log of a step of a flow, once it has ended."""
        if key not in self._ended:
            self._ended.add(key)
            click.echo(f"{'' if self._last == NEWLINE else NEWLINE}--- step {key}")
            self._last = NEWLINE
            self._write(log)

    def _read_live(self) -> tuple[str, str]:
        """The execution that runs, and what it has printed, as far as its worker has told."""
        reply = self._store.command("HMGET", keys.live_log(self._run_id), "execution", "text")
        execution, text = [(value or b"").decode("utf-8", "replace") for value in reply]
        return execution, text

    def _head(self, number: int, what: str) -> None:
        """A line between the logs of attempts; a run with one has none."""
        if number > 1 or self._followed:
            click.echo(f"{'' if self._last == NEWLINE else NEWLINE}--- attempt {number}, {what}")
            self._last = NEWLINE

    def _write(self, text: str) -> None:
        if text:
            shown = "".join(map(_harmless, text.splitlines(keepends=True))) if sys.stdout.isatty() else text
            click.echo(shown, nl=False)
            sys.stdout.flush()
            self._last = text[-1]


def _harmless(line: str) -> str:
    """A line without control characters, for a terminal."""
    return printable_lines(line) + (NEWLINE if line.endswith(NEWLINE) else "")
