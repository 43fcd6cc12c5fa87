"""`headrace audit`: who changed what through the console."""

from __future__ import annotations

import click

from shared.audit import AuditRow, read_audit
from shared.cli_common import as_json, connected, screen_width, settings
from shared.run_page import local_time
from shared.tables import Column, table

_SHORT = 60
_COLUMNS = (
    Column("WHEN"), Column("WHO", shrink=True), Column("WHAT"), Column("ON", shrink=True),
    Column("BEFORE", shrink=True), Column("AFTER", shrink=True),
)  # fmt: skip


@click.command()
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="List at most so many.")
@click.option("--json", "json_output", is_flag=True, help="One JSON object a line.")
def audit(*, limit: int, json_output: bool) -> None:
    """List changes that were made through the console and its API, newest first.

    Long texts are cut; --json has them whole. Tokens made and revoked by command are listed too. Other commands, and
    runs, are not: what they deploy is in headrace history, and a cancelled run names who cancelled it.
    """
    with connected(settings().redis_url) as store:
        rows = read_audit(store, limit)
    if json_output:
        for row in rows:
            click.echo(as_json(row))
        return
    click.echo(table(_COLUMNS, [_cells(row) for row in rows], screen_width()) if rows else "nothing was changed")


def _cells(row: AuditRow) -> tuple[str, ...]:
    before, after = ("" if value is None else _in_short(as_json(value)) for value in (row.before, row.after))
    failed = f" (status {row.status})" if row.status is not None and row.status >= 500 else ""  # noqa: PLR2004
    unknown = " (begun, outcome not known)" if row.begun else ""
    return (local_time(row.at), row.who, row.what + failed + unknown, row.on, before, after)


def _in_short(text: str) -> str:
    return text if len(text) <= _SHORT else f"{text[: _SHORT - 1]}…"
