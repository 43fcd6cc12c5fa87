"""`headrace alerts`: what is wrong, what was told, and whether it would be."""

from __future__ import annotations

import time

import click
import msgspec

from shared import keys
from shared.alerts.model import Notice, Record, encode
from shared.alerts.state import read_memory, read_settings
from shared.cli_common import as_json, connected, screen_width, settings
from shared.deploy import read_now
from shared.errors import UserError
from shared.run_page import local_time
from shared.run_record import iso_ms
from shared.scripts.alerts import ROLE, alerts_told
from shared.store import Store
from shared.tables import Column, printable, table
from shared.workspace.alerts import Alerts

_ACTIVE = (Column("SINCE"), Column("KIND"), Column("WHAT IS WRONG", shrink=True), Column("TOLD"))
_TOLD = (
    Column("AT"), Column("KIND"), Column("STATUS"), Column("WHAT WAS TOLD", shrink=True),
    Column("DELIVERY", shrink=True),
)  # fmt: skip
_POLL_S = 0.2
_JSON = click.option("--json", "json_output", is_flag=True, help="One JSON object.")


@click.group(invoke_without_command=True)
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Newest notices to show.")
@_JSON
@click.pass_context
def alerts(context: click.Context, *, limit: int, json_output: bool) -> None:
    """List what is wrong now, and what was told lately.

    Whom to tell is in the workspace's headrace.yaml. Whichever process of Headrace lives looks for what is wrong, every
    few seconds.
    """
    if context.invoked_subcommand is not None:
        return
    with connected(settings().redis_url) as store:
        memory, is_watched = read_memory(store), store.command("EXISTS", keys.role(ROLE)) == 1
        wanted = read_settings(store, read_now(store))
    active = sorted((each for each in memory.records.values() if each.is_active), key=lambda each: each.since_ms)
    notices = memory.notices[::-1][:limit]
    if json_output:
        shown = [{**msgspec.structs.asdict(each), "since": iso_ms(each.since_ms)} for each in active]
        click.echo(as_json({"watched": is_watched, "active": shown, "notices": notices}))
        return
    rows = [(local_time(iso_ms(each.since_ms)), each.kind, _said(each), _told(each)) for each in active]
    click.echo(table(_ACTIVE, rows, screen_width()) if rows else "nothing is wrong")
    if notices:
        told = [
            (local_time(iso_ms(each.at_ms)), each.kind, each.status, printable(each.what), _delivery(each))
            for each in notices
        ]
        click.echo("\n" + table(_TOLD, told, screen_width()))
    if not is_watched:
        click.echo("note: no process of Headrace looks for what is wrong: none lives", err=True)
    if wanted.runnable is None and wanted.webhook is None:
        click.echo("note: nobody is told: headrace.yaml names no runnable and no webhook under alerts", err=True)


@alerts.command("test")
@click.option("--wait", type=click.FloatRange(min=0), default=30.0, show_default=True, metavar="SECONDS",
              help="How long to wait until it is delivered.")  # fmt: skip
@_JSON
def test(*, wait: float, json_output: bool) -> int:
    """Tell the workspace's script and webhook that this is a test, on the way that alerts take.

    A process of Headrace delivers it, once to each. Exit status 1 if one of them did not accept it.
    """
    with connected(settings().redis_url) as store:
        wanted = read_settings(store, read_now(store))
        notice = _tested(store, wanted)
        deadline = time.monotonic() + wait
        while notice.waits and time.monotonic() < deadline:
            time.sleep(_POLL_S)
            notice = next((each for each in read_memory(store).notices if each.id == notice.id), notice)
        is_watched = store.command("EXISTS", keys.role(ROLE)) == 1
    if json_output:
        click.echo(as_json(notice))
    else:
        click.echo(f"{notice.id}: {_delivery(notice)}")
        if notice.waits and not is_watched:
            click.echo("note: no process of Headrace lives that could deliver it", err=True)
    return 1 if notice.waits or notice.error else 0


def _tested(store: Store, wanted: Alerts) -> Notice:
    """Raises UserError where nobody would be told."""
    seconds, micros = store.command("TIME")
    now_ms = int(seconds) * 1000 + int(micros) // 1000
    notice = Notice(
        f"{now_ms}-test", "test", "test", [], "somebody tries out the alerts", "nothing is wrong", now_ms, now_ms,
        waits=wanted.targets,
    )  # fmt: skip
    if not notice.waits:
        raise UserError("nobody is told", hint="name a runnable or a webhook under alerts in headrace.yaml, and push")
    store.run(alerts_told(notice.id, encode(notice), new=True))
    return notice


def _said(record: Record) -> str:
    return printable(f"{record.subject}: {record.what}" if record.subject else record.what)


def _told(record: Record) -> str:
    return local_time(iso_ms(record.told_ms)) if record.open else "not yet"


def _delivery(notice: Notice) -> str:
    """How far it has got."""
    parts = []
    if notice.run is not None:
        parts.append(f"run {notice.run}")
    if notice.error:
        parts.append(f"{notice.error} ({notice.attempts} tries)")
    if notice.waits:
        parts.append(f"waits for {', '.join(notice.waits)}")
    return printable("; ".join(parts)) or "delivered"
