"""`headrace status` and `headrace doctor`: how things are, and whether they are as they should be."""

from __future__ import annotations

import sys

import click

from shared.cli_common import as_json, connected, screen_width, settings
from shared.doctor import examine
from shared.status import read_status
from shared.status_page import status_page
from shared.tables import printable

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@click.option("--json", "json_output", is_flag=True, help="Print one JSON object.")
def status(*, json_output: bool) -> None:
    """Show sessions, queues, workers and every counter, all read at one instant.

    Every message is accounted for: what was received is what was admitted plus what was dropped for a reason that has a
    counter; what was admitted is in the inbox or was placed; every run that was placed is in one state.
    """
    url = settings().redis_url
    with connected(url) as store:
        found = read_status(store, url)
    click.echo(as_json(found) if json_output else status_page(found, screen_width()))


@click.command()
@click.option("--json", "json_output", is_flag=True, help="Print a JSON list of the checks.")
def doctor(*, json_output: bool) -> int:
    """Check the set-up, and say how to mend what is wrong. Exit status 1 when a check fails."""
    url = settings().redis_url
    with connected(url) as store:
        checks = examine(store, url)
    if json_output:
        click.echo(as_json(checks))
    for check in [] if json_output else checks:
        level = f"{check.level:<5}"
        shown = click.style(level, fg=_COLOURS[check.level]) if sys.stdout.isatty() else level
        click.echo(f"{shown} {printable(check.name)}: {printable(check.found)}")
        if check.fix and check.level != "ok":
            click.echo(f"      → {check.fix}")
    return 1 if any(check.level == "fail" for check in checks) else 0
