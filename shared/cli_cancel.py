"""`headrace runs cancel`: runs by id, or all that filters find."""

from __future__ import annotations

from typing import Any, Final

import click
import msgspec

from shared.cancelling import Cancelled, cancel
from shared.cli_common import as_json, connected, settings
from shared.cli_filters import Progress, chosen, confirmed, is_narrowed, person, run_options
from shared.history import search
from shared.run_query import Query
from shared.runs import LIVE
from shared.store import Store

_MOST: Final = 100_000
_SAID: Final = {"running": "stopping: its worker is told to end it", "": "there is no such run"}


@click.command("cancel")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@run_options
@click.option("--reason", default="", metavar="TEXT", help="Why; kept with the run.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before cancelling what filters find.")
@click.option("--json", "json_output", is_flag=True, help="One JSON object a line.")
def cancel_runs(ids: tuple[str, ...], *, reason: str, yes: bool, json_output: bool, **filters: Any) -> int:
    """Cancel runs by id, or all live ones that filters find.

    A run that waits is cancelled at once. One that runs is ended by its worker, with all that it has started. Exit
    status 1 if one of the ids could not be cancelled.
    """
    query = chosen(_MOST, **filters)
    if bool(ids) == is_narrowed(query):
        raise click.UsageError("give either ids or filters")
    states = (query.states or frozenset(LIVE)) & frozenset(LIVE)
    if not states:
        raise click.UsageError(f"only what is {', '.join(LIVE)} can be cancelled")
    with connected(settings().redis_url) as store:
        wanted = list(ids)
        if not ids:
            wanted = _found(store, msgspec.structs.replace(query, states=states))
            if wanted:
                confirmed(f"Cancel {len(wanted)} runs?", yes=yes)
        outcomes = cancel(store, wanted, person(), reason)
    for outcome in outcomes:
        if json_output:
            click.echo(as_json(outcome))
        else:
            click.echo(_line(outcome), err=not outcome.is_done)
    if not (ids or json_output):
        click.echo(f"{sum(outcome.is_done for outcome in outcomes)} cancelled" if outcomes else "no runs")
    return 0 if not ids or all(outcome.is_done for outcome in outcomes) else 1


def _found(store: Store, query: Query) -> list[str]:
    progress = Progress()
    found = [run.id for run in search(store, query, progress)]
    progress.say_if_cut(query)
    return found


def _line(outcome: Cancelled) -> str:
    said = _SAID.get(outcome.was) or ("cancelled" if outcome.is_done else f"left alone: it is {outcome.was}")
    return f"{outcome.id}  {said}"
