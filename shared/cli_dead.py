"""`headrace dead`: find dead letters, show one, run it again, drop it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from shared.cli_common import as_json, connected, screen_width, settings
from shared.cli_filters import Command, confirmed, time_options
from shared.dead import DeadLetter
from shared.dead_document import letter_document
from shared.dead_list import REASONS, Buried, DeadQuery, list_dead, show_dead
from shared.dead_redrive import Retried, drop, retry
from shared.history import RunDetails
from shared.run_page import document, fields, local_time, message_lines, page
from shared.run_record import iso_ms
from shared.store import Store
from shared.tables import Column, table

_COLUMNS = (
    Column("DEAD LETTER"), Column("SINCE"), Column("REASON"), Column("TRIGGER", shrink=True),
    Column("TOPIC", shrink=True), Column("DETAIL", shrink=True),
)  # fmt: skip
_SAID = {
    "queued": "queued again",
    "in the inbox": "back in the inbox, to be routed by what is deployed now",
    "not ended badly": "left alone: it did not end badly, or was queued again before",
}


@click.group()
def dead() -> None:
    """What ended badly and is kept: runs, and messages that never became one."""


def _filters(command: Command) -> Command:
    options: list[Callable[[Command], Command]] = [
        click.option("--trigger", metavar="PATH", help="Only those of this trigger."),
        click.option("--reason", "--state", "reasons", multiple=True, type=click.Choice(REASONS), metavar="REASON",
                     help=f"Only those, may be given several times: {', '.join(REASONS)}."),
        click.option("--error", metavar="TEXT", help="Only those whose detail contains this text."),
        time_options("those buried"),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def _query(reasons: tuple[str, ...], **filters: Any) -> DeadQuery:
    return DeadQuery(reasons=frozenset(reasons), **filters)


@dead.command("list")
@_filters
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="List at most so many.")
@click.option("--json", "json_output", is_flag=True, help="One JSON object a line.")
def list_letters(*, limit: int, json_output: bool, **filters: Any) -> None:
    """List dead letters, newest first."""
    with connected(settings().redis_url) as store:
        found = list_dead(store, _query(**filters), limit)
        if json_output:
            for entry in found:
                click.echo(as_json(entry))
        else:
            rows = [_row(entry) for entry in found]
            click.echo(table(_COLUMNS, rows, screen_width()) if rows else "no dead letters")


@dead.command("show")
@click.argument("dead_id", metavar="ID")
@click.option("--json", "json_output", is_flag=True, help="One JSON object.")
def show_letter(dead_id: str, *, json_output: bool) -> None:
    """Show all that is kept of one: the message, and why it is here."""
    with connected(settings().redis_url) as store:
        found = show_dead(store, dead_id)
    if isinstance(found, RunDetails):
        click.echo(as_json(document(found)) if json_output else page(found))
    else:
        click.echo(as_json(letter_document(dead_id, found)) if json_output else _page(dead_id, found))


def _choosing(command: Command) -> Command:
    """Ids, or filters, or all."""
    options: list[Callable[[Command], Command]] = [
        click.argument("ids", nargs=-1, metavar="[ID]..."),
        _filters,
        click.option("--all", "everything", is_flag=True, help="All dead letters."),
        click.option("-y", "--yes", is_flag=True, help="Do not ask before --all and what filters find."),
        click.option("--json", "json_output", is_flag=True, help="One JSON object a line."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@dead.command("retry")
@_choosing
@click.option("--latest", is_flag=True, help="Run the version that is deployed now, not the one of then.")
def retry_letters(*, latest: bool, json_output: bool, **choice: Any) -> int:
    """Run again what ended badly, under the same id and idempotency key.

    The code runs once more, so what it did before its bad end may happen twice. A message that never became a run is
    routed by what is deployed now; one that could not be published is sent again. Exit status 1 if one of the ids
    could not be queued.
    """
    given = settings()
    with connected(given.redis_url) as store:
        choice["yes"] = choice["yes"] or not sys.stdin.isatty()
        wanted = _chosen(store, "Run {} again?", **choice)
        outcomes = retry(store, wanted, latest_timeout_s=given.worker.default_timeout_s if latest else None)
    for outcome in outcomes:
        if json_output:
            click.echo(as_json(outcome))
        elif outcome.is_done:
            click.echo(f"{outcome.id}  {_SAID[outcome.outcome]}")
        if not outcome.is_done:
            click.echo(_problem(outcome), err=True)
    return 0 if not choice["ids"] or all(outcome.is_done for outcome in outcomes) else 1


@dead.command("drop")
@_choosing
def drop_letters(*, json_output: bool, **choice: Any) -> int:
    """Take dead letters off the list for good.

    A run stays in the history until retention removes it; a message that never became a run is gone. Exit status 1 if
    one of the ids is not there.
    """
    with connected(settings().redis_url) as store:
        wanted = _chosen(store, "Drop {} dead letters?", **choice)
        dropped = drop(store, wanted)
    for dead_id, done in zip(wanted, dropped, strict=True):
        if json_output:
            click.echo(as_json({"id": dead_id, "outcome": "dropped" if done else "unknown"}))
        elif done:
            click.echo(f"{dead_id}  dropped")
        if not done:
            click.echo(f"error: there is no dead letter {dead_id}", err=True)
    return 0 if not choice["ids"] or all(dropped) else 1


def _chosen(
    store: Store, question: str, *, ids: tuple[str, ...], everything: bool, yes: bool, **filters: Any
) -> Sequence[str]:
    query = _query(**filters)
    if [bool(ids), everything, query != DeadQuery()].count(True) != 1:
        raise click.UsageError("give either ids, filters, or --all")
    if ids:
        return ids
    found = [entry.id for entry in list_dead(store, query)][::-1]
    if found:
        confirmed(question.format(len(found)), yes=yes)
    return found


def _problem(outcome: Retried) -> str:
    match outcome.outcome:
        case "unknown":
            return f"error: there is no dead letter {outcome.id}"
        case "refused":
            return f"error: {outcome.id} is left alone: {outcome.why}"
        case _:
            return f"error: {outcome.id}: {_SAID[outcome.outcome]}"


def _row(entry: Buried) -> tuple[str, ...]:
    return (entry.id, local_time(entry.at), entry.reason, entry.trigger or "?", entry.topic or "?", entry.detail)


def _page(dead_id: str, letter: DeadLetter) -> str:
    kept = "whole" if letter.envelope is not None else "its head"
    end = "it could not be published" if letter.reason == "unsent" else "it never became a run"
    pairs = [
        ("trigger", letter.trigger),
        ("reason", letter.detail),
        ("buried", iso_ms(letter.at)),
        ("digest", letter.digest),
        ("kept", f"{kept}; {end}"),
    ]
    message = message_lines(letter.topic or "?", f"QoS {letter.qos}", letter.payload, letter.size, letter.properties)
    return "\n".join([f"{dead_id}  {letter.reason}", "", *fields(pairs), "", *message])
