"""`headrace sessions`: the MQTT sessions of triggers and those left behind; drain, end or forget the latter."""

from __future__ import annotations

import click

from shared.cli_common import as_json, connected, screen_width, settings
from shared.left import Wish
from shared.run_page import local_time
from shared.sessions import Asked, SessionRow, ask, forget, list_sessions, wait_for
from shared.tables import Column, printable, table

_COLUMNS = (
    Column("SESSION"), Column("STATE"), Column("TRIGGER", shrink=True), Column("MESSAGES WAIT THERE"),
    Column("BROKER", shrink=True), Column("DETAIL", shrink=True),
)  # fmt: skip
_WAITS = {
    "until": "until {}",
    "expired": "expired {}",
    "for ever": "for ever",
    "as long as the broker keeps them": "as the broker likes",
}
_DONE: dict[Wish, str] = {"drain": "drained and ended", "end": "ended"}
_WAIT = click.option("--wait", type=click.FloatRange(min=0), default=60.0, show_default=True, metavar="SECONDS",
                     help="How long to wait for it; it goes on all the same.")  # fmt: skip
_JSON = click.option("--json", "json_output", is_flag=True, help="One JSON object.")


@click.group(invoke_without_command=True)
@click.option("--json", "json_output", is_flag=True, help="One JSON object a line.")
@click.pass_context
def sessions(context: click.Context, *, json_output: bool) -> None:
    """List the MQTT sessions: of triggers, and those that they left behind.

    A broker keeps a session, and the messages that wait in it, when its trigger is disabled, deleted, or sent to
    another broker. How many wait is not known: brokers do not tell.
    """
    if context.invoked_subcommand is not None:
        return
    with connected(settings().redis_url) as store:
        found = list_sessions(store)
    if json_output:
        for row in found:
            click.echo(as_json(row))
        return
    click.echo(table(_COLUMNS, [_row(row) for row in found], screen_width()) if found else "no sessions")


@sessions.command("drain")
@click.argument("session", metavar="ID")
@_WAIT
@_JSON
def drain(session: str, *, wait: float, json_output: bool) -> int:
    """Run what waits in a session that was left behind, then end it at its broker.

    An ingest process does it, with the trigger as it was then; the command waits and shows how far it is. Exit status 1
    if it is not done by then.
    """
    return _ask(session, "drain", wait, json_output=json_output)


@sessions.command("end")
@click.argument("session", metavar="ID")
@_WAIT
@_JSON
def end(session: str, *, wait: float, json_output: bool) -> int:
    """End a session that was left behind; what waits in it is lost.

    An ingest process does it. Exit status 1 if it is not done by then.
    """
    return _ask(session, "end", wait, json_output=json_output)


@sessions.command("forget")
@click.argument("session", metavar="ID")
@_JSON
def forget_session(session: str, *, json_output: bool) -> None:
    """Remove the record of a session that was left behind, for a broker that is gone.

    The broker is not told: as long as it keeps the session, it keeps messages for nobody.
    """
    with connected(settings().redis_url) as store:
        forget(store, session)
    report = {"session": session, "forgotten": True}
    click.echo(as_json(report) if json_output else f"{session} is forgotten; the broker was not told")


def _ask(session: str, wish: Wish, wait_s: float, *, json_output: bool) -> int:
    def say(asked: Asked) -> None:
        if asked.done:
            return
        why = f": {printable(asked.reason)}" if asked.reason else ""
        count = f", {asked.drained} messages taken in" if wish == "drain" else ""
        click.echo(f"{session} {asked.state}{count}{why}", err=True)

    with connected(settings().redis_url) as store:
        ask(store, session, wish)
        asked = wait_for(store, session, wish, wait_s, say)
    count = f"; {asked.drained} messages taken in" if wish == "drain" else ""
    outcome = f"{session} is {_DONE[wish]}{count}" if asked.done else f"{session} is not {_DONE[wish]} yet{count}"
    click.echo(as_json(asked) if json_output else outcome)
    return 0 if asked.done else 1


def _row(row: SessionRow) -> tuple[str, ...]:
    waits = _WAITS[row.waits].format(local_time(row.until)) if row.waits and row.wish is None else ""
    taken_in = [f"{row.drained} taken in"] if row.wish == "drain" else []
    detail = "; ".join([*taken_in, *([row.reason] if row.reason else [])])
    return (row.session, row.state, row.trigger, waits, row.broker, detail)
