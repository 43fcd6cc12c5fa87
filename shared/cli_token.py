"""`headrace token` and `headrace login`: who may use the console and its API."""

from __future__ import annotations

import time

import click
import msgspec

from shared import tokens
from shared.audit import AuditEntry, recorded
from shared.browser_sessions import LINK_LIFE_S, Link, end_all, make_link
from shared.cli_common import as_json, connected, screen_width, settings
from shared.cli_filters import person
from shared.run_page import local_time
from shared.run_record import iso_ms
from shared.tables import Column, table
from shared.when import parse_span

_COLUMNS = (
    Column("TOKEN"), Column("NAME", shrink=True), Column("SCOPE"), Column("LAST USED"), Column("EXPIRES"),
    Column("MADE BY", shrink=True),
)  # fmt: skip
_SCOPE = click.option("--scope", type=click.Choice(tokens.SCOPES), default="read", show_default=True,
                      help="; ".join(f"{scope}: {tokens.MEANINGS[scope]}" for scope in tokens.SCOPES))  # fmt: skip
_NEVER = "never"


@click.group()
def token() -> None:
    """Make, list and revoke the tokens by which people and tools use the console and its API.

    Whoever can write to Redis can make one. Only a digest of it is kept.
    """


@token.command("create")
@click.argument("name")
@_SCOPE
@click.option("--expires", default="365d", show_default=True, metavar="SPAN",
              help="How long it is good: 12h, 90d; or never.")  # fmt: skip
@click.option("--json", "json_output", is_flag=True, help="One JSON object.")
def create_token(name: str, *, scope: tokens.Scope, expires: str, json_output: bool) -> None:
    """Make a token and print it, this once. NAME says whose it is; the audit log names it."""
    given = settings()
    now_ms = time.time_ns() // 1_000_000
    expires_at = None if expires == _NEVER else now_ms + parse_span(expires)
    new = tokens.make_token(name, scope, person(), now_ms, expires_at)
    with connected(given.redis_url) as store:
        made = AuditEntry(person(), "make token", new.token.id, after={"name": name, "scope": scope})
        with recorded(store, made, given.retention.audit_max):
            tokens.create(store, new)
    if json_output:
        click.echo(as_json({"id": new.token.id, "token": new.text, "scope": scope, "expires_at": expires_at}))
        return
    click.echo(new.text)
    until = "for ever" if expires_at is None else f"until {local_time(iso_ms(expires_at))}"
    click.echo(f"note: {scope}, good {until}; it is not shown again", err=True)


@token.command("list")
@click.option("--json", "json_output", is_flag=True, help="One JSON object a line.")
def list_command(*, json_output: bool) -> None:
    """List the tokens, the oldest first. Use is noted about once a minute."""
    with connected(settings().redis_url) as store:
        rows = tokens.list_tokens(store)
    if json_output:
        for row in rows:
            click.echo(as_json(msgspec.structs.asdict(row)))
        return
    now_ms = time.time_ns() // 1_000_000
    cells = [_cells(row, now_ms) for row in rows]
    click.echo(table(_COLUMNS, cells, screen_width()) if cells else "no tokens")


@token.command("revoke")
@click.argument("wanted", metavar="[ID|NAME]", required=False)
@click.option("--browsers", is_flag=True, help="Log all browsers out instead, whatever they logged in with.")
def revoke_token(wanted: str | None, *, browsers: bool) -> None:
    """End a token at once, and the browser sessions that began with it."""
    if browsers == bool(wanted):
        raise click.UsageError("give either a token or --browsers")
    given = settings()
    with connected(given.redis_url) as store:
        if wanted is None:
            with recorded(store, AuditEntry(person(), "log out all browsers"), given.retention.audit_max):
                count = end_all(store)
            click.echo(f"{count} browsers are logged out")
            return
        found = tokens.find(store, wanted)
        ended = AuditEntry(person(), "revoke token", found.id, before={"name": found.name, "scope": found.scope})
        with recorded(store, ended, given.retention.audit_max):
            tokens.revoke(store, found.id)
    click.echo(f"{found.id}  {found.name} is revoked")


@click.command()
@click.option("--scope", type=click.Choice(tokens.SCOPES), default="admin", show_default=True,
              help="What the browser may do.")  # fmt: skip
def login(*, scope: tokens.Scope) -> None:
    """Print an address that logs a browser in to the console, once, within ten minutes.

    Whoever can write to Redis can log in. The setting console.url says where the console is.
    """
    given = settings()
    with connected(given.redis_url) as store:
        address = make_link(store, given.console.url, Link(person(), scope))
    click.echo(address)
    click.echo(f"note: open it in a browser within {LINK_LIFE_S // 60} minutes; it works once", err=True)


def _cells(row: tokens.TokenRow, now_ms: int) -> tuple[str, ...]:
    used = local_time(iso_ms(row.last_used_at)) if row.last_used_at else "never"
    expires = local_time(iso_ms(row.expires_at)) if row.expires_at else _NEVER
    if row.expires_at is not None and row.expires_at <= now_ms:
        expires = f"expired {expires}"
    return (row.id, row.name, row.scope, used, expires, row.created_by)
