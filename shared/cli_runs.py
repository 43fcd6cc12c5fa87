"""`headrace runs`: list runs, show one; the verbs on them are in modules of their own."""

from __future__ import annotations

from typing import Any

import click

from shared.cli_again import again
from shared.cli_cancel import cancel_runs
from shared.cli_common import as_json, connected, screen_width, settings
from shared.cli_filters import Progress, chosen, run_options
from shared.cli_logs import logs
from shared.cli_restart import restart
from shared.history import search, show
from shared.run_page import COLUMNS, document, page, row
from shared.tables import table


@click.group(invoke_without_command=True)
@run_options
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="List at most so many.")
@click.option("--json", "json_output", is_flag=True, help="One JSON object a line.")
@click.pass_context
def runs(context: click.Context, /, *, limit: int, json_output: bool, **filters: Any) -> None:
    """List runs, newest first; `runs show ID` shows one with all that is known."""
    if context.invoked_subcommand is not None:
        return
    wanted = chosen(limit, **filters)
    progress = Progress()
    with connected(settings().redis_url) as store:
        found = search(store, wanted, progress)
        if json_output:
            for run in found:
                click.echo(as_json(run))
        else:
            rows = [row(run) for run in found]
            click.echo(table(COLUMNS, rows, screen_width()) if rows else "no runs")
    progress.say_if_cut(wanted)


@runs.command("show")
@click.argument("run_id", metavar="ID")
@click.option("--json", "json_output", is_flag=True, help="One JSON object.")
def show_run(run_id: str, *, json_output: bool) -> None:
    """Show a run: message, times, attempts, logs, result."""
    with connected(settings().redis_url) as store:
        details = show(store, run_id)
    click.echo(as_json(document(details)) if json_output else page(details))


runs.add_command(logs)
runs.add_command(cancel_runs)
runs.add_command(again)
runs.add_command(restart)
