"""`headrace dead`: list dead letters, show one, run it again."""

from __future__ import annotations

import base64
import sys
from typing import Any

import click
import msgspec

from shared.cli_common import as_json, connected, screen_width, settings
from shared.dead import DeadLetter
from shared.dead_list import Buried, Retried, all_ids, list_dead, retry, show_dead
from shared.history import RunDetails
from shared.run_page import as_text, document, fields, local_time, message_lines, page
from shared.run_record import iso_ms
from shared.tables import Column, table

_COLUMNS = (
    Column("DEAD LETTER"), Column("SINCE"), Column("REASON"), Column("TRIGGER", shrink=True),
    Column("TOPIC", shrink=True), Column("DETAIL", shrink=True),
)  # fmt: skip
_SAID = {
    "queued": "queued again",
    "not ended badly": "left alone: it did not end badly, or was queued again before",
    "unknown": "there is no such run",
    "a message": "left alone: it never became a run, and messages cannot be sent on again yet",
}


@click.group()
def dead() -> None:
    """What ended badly and is kept: runs, and messages that never became one."""


@dead.command("list")
@click.option("--trigger", metavar="PATH", help="Only those of this trigger.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="List at most so many.")
@click.option("--json", "json_output", is_flag=True, help="One JSON object a line.")
def list_letters(*, trigger: str | None, limit: int, json_output: bool) -> None:
    """List dead letters, newest first."""
    with connected(settings().redis_url) as store:
        found = list_dead(store, limit, trigger)
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
        click.echo(as_json(_document(dead_id, found)) if json_output else _page(dead_id, found))


@dead.command("retry")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="All runs among the dead letters.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before --all.")
@click.option("--json", "json_output", is_flag=True, help="One JSON object a line.")
def retry_letters(ids: tuple[str, ...], *, everything: bool, yes: bool, json_output: bool) -> int:
    """Run again what ended badly, under the same id and idempotency key.

    The code runs once more, so what it did before its bad end may happen twice. Exit status 1 if one of the ids could
    not be queued.
    """
    if bool(ids) == everything:
        raise click.UsageError("give either ids or --all")
    with connected(settings().redis_url) as store:
        wanted = list(ids) or all_ids(store)
        if everything and wanted and not yes and sys.stdin.isatty():
            click.confirm(f"Run {len(wanted)} again?", abort=True, err=True)
        outcomes = retry(store, wanted)
    for outcome in outcomes:
        click.echo(as_json(outcome) if json_output else f"{outcome.id}  {_SAID[outcome.outcome]}")
    return 0 if everything or all(map(_is_queued, outcomes)) else 1


def _is_queued(outcome: Retried) -> bool:
    return outcome.outcome == "queued"


def _row(entry: Buried) -> tuple[str, ...]:
    return (entry.id, local_time(entry.at), entry.reason, entry.trigger or "?", entry.topic or "?", entry.detail)


def _document(dead_id: str, letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": dead_id,
        "kind": "message",
        "at": iso_ms(letter.at),
        "reason": letter.reason,
        "detail": letter.detail,
        "trigger": letter.trigger,
        "topic": letter.topic,
        "qos": letter.qos,
        "payload_size": letter.size,
        "digest": letter.digest,
        "payload": as_text(letter.payload),
        "payload_base64": base64.b64encode(letter.payload).decode(),
        "properties": letter.properties and msgspec.structs.asdict(letter.properties),
        "complete": letter.envelope is not None,
    }


def _page(dead_id: str, letter: DeadLetter) -> str:
    kept = "whole" if letter.envelope is not None else "its head"
    pairs = [
        ("trigger", letter.trigger),
        ("reason", letter.detail),
        ("buried", iso_ms(letter.at)),
        ("digest", letter.digest),
        ("kept", f"{kept}; it never became a run, and messages cannot be sent on again yet"),
    ]
    message = message_lines(letter.topic or "?", f"QoS {letter.qos}", letter.payload, letter.size, letter.properties)
    return "\n".join([f"{dead_id}  {letter.reason}", "", *fields(pairs), "", *message])
