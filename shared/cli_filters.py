"""Options by which commands choose runs and dead letters."""

from __future__ import annotations

import getpass
import socket
import sys
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from shared.errors import TopicError, UserError
from shared.run_query import SCAN, SOURCES, Query, Sought, parse_sought
from shared.runs import LIVE, TERMINAL
from shared.tables import number
from shared.topics import TopicFilter, parse_filter
from shared.when import parse_when

Command = TypeVar("Command", bound=Callable[..., Any])
STATES: Final = [*LIVE, *TERMINAL]
_PROGRESS_AFTER_S: Final = 1.0
_WHEN: Final = "ISO time or so long ago: 30min, 2h, 7d"


def _topic(_context: click.Context, _parameter: click.Parameter, value: str | None) -> TopicFilter | None:
    try:
        return None if value is None else parse_filter(value)
    except TopicError as error:
        raise click.BadParameter(str(error)) from error


def _moment(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    try:
        return None if value is None else parse_when(value, time.time_ns() // 1000)
    except UserError as error:
        raise click.BadParameter(str(error)) from error


def _sought(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Sought | None:
    try:
        return None if value is None else parse_sought(value)
    except UserError as error:
        raise click.BadParameter(str(error)) from error


def time_options(what: str) -> Callable[[Command], Command]:
    """`--since` and `--until`, epoch microseconds."""

    def add(command: Command) -> Command:
        for name, text in (("--until", "before"), ("--since", "at or after")):
            told = f"Only {what} {text}: {_WHEN}."
            command = click.option(name, metavar="WHEN", callback=_moment, help=told)(command)
        return command

    return add


def run_options(command: Command) -> Command:
    """All by which runs can be chosen; `chosen` makes a query of them."""
    options = [
        click.option("--trigger", metavar="PATH", help="Only runs of this trigger."),
        click.option("--runnable", metavar="PATH", help="Only runs of this script or flow."),
        click.option("--folder", metavar="PATH", help="Only runs of scripts and flows in this folder: f/plant."),
        click.option("--state", "states", multiple=True, type=click.Choice(STATES), metavar="STATE",
                     help=f"Only runs in this state, may be given several times: {', '.join(STATES)}."),
        click.option("--source", "sources", multiple=True, type=click.Choice(SOURCES), metavar="SOURCE",
                     help=f"Only runs made by this, may be given several times: {', '.join(SOURCES)}."),
        click.option("--topic", metavar="FILTER", callback=_topic,
                     help="Only messages on topics that match, as plant/+/t."),
        click.option("--label", metavar="LABEL", help="Only runs that gave themselves this label."),
        click.option("--error", metavar="TEXT", help="Only runs whose error contains this text."),
        click.option("--args", metavar="TEXT", callback=_sought,
                     help="Only runs whose message or arguments contain this text, or this JSON."),
        click.option("--result", metavar="TEXT", callback=_sought,
                     help="Only runs whose result contains this text, or this JSON."),
        click.option("--worker", metavar="NAME", help="Only runs that this worker has started last."),
        click.option("--user", metavar="NAME", help="Only runs that this person or token has asked for."),
        click.option("--steps", is_flag=True, help="Also runs that other runs have started."),
        time_options("runs made"),
        click.option("--scan", type=click.IntRange(min=1), metavar="N",
                     help=f"Search among the newest N runs.  [default: {number(SCAN)}, or the limit]"),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def chosen(limit: int, *, scan: int | None, states: tuple[str, ...], sources: tuple[str, ...], **filters: Any) -> Query:
    """The query that the options of `run_options` make."""
    at_most = scan or max(SCAN, limit)
    return Query(limit=limit, scan=at_most, states=frozenset(states), sources=frozenset(sources), **filters)


def is_narrowed(query: Query) -> bool:
    """Whether any filter was given."""
    return query != Query(limit=query.limit, scan=query.scan, steps=query.steps)


def person() -> str:
    """Who gives the command: `user@host`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        user = "somebody"
    return f"{user}@{socket.gethostname()}"


def confirmed(question: str, *, yes: bool) -> None:
    """Ask before much is changed. Where nobody can be asked, only `--yes` is consent: UsageError."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Nobody can be asked here: say so with --yes")
    click.confirm(question, abort=True, err=True)


class Progress:
    """How far a search has come; says so on a terminal when it takes long."""

    def __init__(self) -> None:
        self.looked = 0
        self._said_at = time.monotonic()

    def __call__(self, looked: int) -> None:
        """So many runs were looked at so far."""
        self.looked = looked
        if sys.stderr.isatty() and time.monotonic() > self._said_at + _PROGRESS_AFTER_S:
            self._said_at = time.monotonic()
            click.echo(f"searched {number(looked)} runs …", err=True)

    def say_if_cut(self, query: Query) -> None:
        """Say that there may be more, further back."""
        if self.looked >= query.scan:
            click.echo(f"searched the newest {number(self.looked)} runs; --scan looks further back", err=True)
