"""`headrace runs`: list runs, show one."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from shared.cli_common import as_json, connected, screen_width, settings
from shared.errors import TopicError
from shared.history import SCAN, Query, search, show
from shared.run_page import COLUMNS, document, page, row
from shared.runs import LIVE, TERMINAL
from shared.tables import number, table
from shared.topics import TopicFilter, parse_filter

_PROGRESS_AFTER_S = 1.0


def _filter(_context: click.Context, _parameter: click.Parameter, value: str | None) -> TopicFilter | None:
    try:
        return None if value is None else parse_filter(value)
    except TopicError as error:
        raise click.BadParameter(str(error)) from error


@click.group(invoke_without_command=True)
@click.option("--trigger", metavar="PATH", help="Only runs of this trigger.")
@click.option("--state", type=click.Choice([*LIVE, *TERMINAL]), metavar="STATE",
              help=f"Only runs in this state: {', '.join([*LIVE, *TERMINAL])}.")  # fmt: skip
@click.option("--topic", metavar="FILTER", callback=_filter, help="Only messages on topics that match, as plant/+/t.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="List at most so many.")
@click.option("--scan", type=click.IntRange(min=1), metavar="N",
              help=f"Search among the newest N runs.  [default: {SCAN}, or the limit]")  # fmt: skip
@click.option("--json", "json_output", is_flag=True, help="One JSON object a line.")
@click.pass_context
def runs(context: click.Context, /, *, limit: int, scan: int | None, json_output: bool, **query: Any) -> None:
    """List runs, newest first; `runs show ID` shows one with all that is known."""
    if context.invoked_subcommand is not None:
        return
    wanted = Query(limit=limit, scan=scan or max(SCAN, limit), **query)
    progress = _Progress()
    with connected(settings().redis_url) as store:
        found = search(store, wanted, progress)
        if json_output:
            for run in found:
                click.echo(as_json(run))
        else:
            rows = [row(run) for run in found]
            click.echo(table(COLUMNS, rows, screen_width()) if rows else "no runs")
    if progress.looked >= wanted.scan:
        click.echo(f"searched the newest {number(progress.looked)} runs; --scan looks further back", err=True)


@runs.command("show")
@click.argument("run_id", metavar="ID")
@click.option("--json", "json_output", is_flag=True, help="One JSON object.")
def show_run(run_id: str, *, json_output: bool) -> None:
    """Show a run: message, times, attempts, logs, result."""
    with connected(settings().redis_url) as store:
        details = show(store, run_id)
    click.echo(as_json(document(details)) if json_output else page(details))


class _Progress:
    """How far a search has come; says so on a terminal when it takes long."""

    def __init__(self) -> None:
        self.looked = 0
        self._said_at = time.monotonic()

    def __call__(self, looked: int) -> None:
        self.looked = looked
        if sys.stderr.isatty() and time.monotonic() > self._said_at + _PROGRESS_AFTER_S:
            self._said_at = time.monotonic()
            click.echo(f"searched {number(looked)} runs …", err=True)
