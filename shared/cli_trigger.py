"""`headrace trigger`: how triggers are doing, their modes, and the runs that wait while one is suspended."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final, Literal

import click
import msgspec

from shared import suspended
from shared.cli_common import as_json, author, connected, screen_width, settings
from shared.cli_filters import confirmed, person
from shared.definitions import Mode, encode_definition
from shared.errors import UserError
from shared.modes import ModeChange, read_triggers, set_modes
from shared.run_page import local_time
from shared.sessions import SessionRow, ask, list_sessions, wait_for
from shared.store import Store
from shared.suspended import Settled
from shared.tables import Column, number, printable, table
from shared.trigger_list import TriggerDetails, TriggerRow, read_details

_ELSEWHERE: Final = {"test": "ingest.cli_trigger:test_trigger"}
"""Commands that speak MQTT: `module:attribute`."""
_COLUMNS = (
    Column("TRIGGER", shrink=True), Column("MODE"), Column("SESSION"), Column("LAST MESSAGE"), Column("/MIN", "right"),
    Column("LAG", "right"), Column("WAIT", "right"), Column("BADLY", "right"),
)  # fmt: skip
_SHOWN = 5
_JSON = click.option("--json", "json_output", is_flag=True, help="One JSON object a line.")
_MESSAGE = click.option("-m", "--message", default="", metavar="TEXT", help="Why; kept with the deployment.")
_PATHS = click.argument("paths", nargs=-1, required=True, metavar="PATH...")
_LATEST = click.option("--latest", is_flag=True, help="Run the version deployed now, not that of the message's time.")
_RUNS = click.option("--run", "ids", multiple=True, metavar="ID", help="Only this run; may be given several times.")


class TriggerGroup(click.Group):
    """Has commands that are imported from elsewhere when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which they are told of."""
        return [*super().list_commands(ctx), *_ELSEWHERE]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import it if need be."""
        if (target := _ELSEWHERE.get(cmd_name)) is None:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = target.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command


@click.group(cls=TriggerGroup)
def trigger() -> None:
    """List triggers, change their mode, release what waits, try a connection.

    A mode is part of the trigger's file: to change it is a deployment. A workspace folder that says otherwise sets it
    back with the next push; headrace pull brings the folder up to date.
    """


@trigger.command("list")
@_JSON
def list_command(*, json_output: bool) -> None:
    """List the triggers: mode, session, what came in lately, what waits.

    LAG counts messages in the inbox and runs in the queue, WAIT runs that wait because the trigger was suspended, BADLY
    runs that failed, were lost or interrupted, and messages that could not become runs.
    """
    with connected(settings().redis_url) as store:
        rows = [details.row for details in read_details(store, [])]
    if json_output:
        for row in rows:
            click.echo(as_json(row))
        return
    cells = [_cells(row) for row in rows]
    click.echo(table(_COLUMNS, cells, screen_width()) if cells else "no triggers are deployed")
    for row in rows:
        if row.reason:
            click.echo(f"  {printable(row.trigger)}: {printable(row.reason)}")


@trigger.command("show")
@_PATHS
@_JSON
def show_command(paths: Sequence[str], *, json_output: bool) -> None:
    """Show triggers with all that is known of them."""
    with connected(settings().redis_url) as store:
        found = read_details(store, paths)
    for index, details in enumerate(found):
        if json_output:
            click.echo(as_json(details))
        else:
            click.echo(("\n" if index else "") + "\n".join(_page(details)))


@trigger.command("enable")
@_PATHS
@_MESSAGE
@_JSON
def enable_command(paths: Sequence[str], *, message: str, json_output: bool) -> None:
    """Connect triggers, and run what comes from now on.

    Runs that wait because the trigger was suspended stay: headrace trigger resume releases them.
    """
    _change(paths, "enabled", message, json_output=json_output)


@trigger.command("suspend")
@_PATHS
@_MESSAGE
@_JSON
def suspend_command(paths: Sequence[str], *, message: str, json_output: bool) -> None:
    """Stay connected, and let messages become runs that wait until they are resumed or discarded.

    It holds from the deployment on, for messages that were received before and have no run yet too. Runs that are in
    the queue already are not held up.
    """
    _change(paths, "suspended", message, json_output=json_output)


@trigger.command("disable")
@_PATHS
@click.option("--keep-session", "then", flag_value="keep", default="keep",
              help="Leave the session at the broker, where QoS 1 and 2 messages wait.  [default]")  # fmt: skip
@click.option("--drain-session", "then", flag_value="drain", help="Run what waits in it, then end it.")
@click.option("--end-session", "then", flag_value="end", help="End it: what waits in it is lost.")
@click.option("--wait", type=click.FloatRange(min=0), default=60.0, show_default=True, metavar="SECONDS",
              help="How long to wait until ingest has drained or ended it.")  # fmt: skip
@_MESSAGE
@_JSON
def disable_command(
    paths: Sequence[str], *, then: Literal["keep", "drain", "end"], wait: float, message: str, json_output: bool
) -> int:
    """Disconnect triggers, and tell what waits.

    What is stored already runs. The broker keeps the session unless told otherwise: enabled again, the trigger gets
    what was published meanwhile. How much that is brokers do not tell. Exit status 1 if a session is not drained or
    ended in time.
    """
    changes = _change(paths, "disabled", message, json_output=json_output)
    with connected(settings().redis_url) as store:
        for details in read_details(store, paths):
            if waiting := ", ".join(_waiting(details)):
                click.echo(f"note: {printable(details.row.trigger)} has {waiting}", err=True)
        left = {row.session: row for row in list_sessions(store) if row.left_at is not None}
        sessions = [change.session for change in changes if change.session in left]
        if then == "keep":
            for session in sessions:
                click.echo(f"note: the session {session} stays at the broker{_for_how_long(left[session])}", err=True)
            return 0
        for session in sessions:
            ask(store, session, then)
        asked = {session: wait_for(store, session, then, wait, lambda _asked: None) for session in sessions}
    for session, outcome in asked.items():
        if outcome.done:
            said = f"drained of {outcome.drained} messages, and ended" if then == "drain" else "ended"
            lost = "" if then == "drain" else ", and what waited in it is lost"
            click.echo(f"note: the session {session} is {said}{lost}", err=True)
        else:
            click.echo(f"note: the session {session} is not ended yet: an ingest process has to do it", err=True)
    return 0 if all(outcome.done for outcome in asked.values()) else 1


def _waiting(details: TriggerDetails) -> list[str]:
    """What there is of a trigger that runs all the same."""
    said = {
        "inbox": "in the inbox",
        "queued": "runs in the queue",
        "scheduled": "runs to be tried again",
        "running": "runs that execute",
    }
    return [f"{number(count)} {text}" for cell, text in said.items() if (count := details.counters.get(cell, 0))]


def _for_how_long(row: SessionRow) -> str:
    """How long messages wait in a session that was left."""
    if row.waits == "until" and row.until is not None:
        return f", and QoS 1 and 2 messages wait in it until {local_time(row.until)}"
    if row.waits == "for ever":
        return ", and QoS 1 and 2 messages wait in it for ever"
    return ", for as long as that likes" if row.waits is not None else ""


@trigger.command("resume")
@_PATHS
@_RUNS
@_LATEST
@_MESSAGE
@_JSON
def resume_command(paths: Sequence[str], *, ids: tuple[str, ...], latest: bool, message: str, json_output: bool) -> int:
    """Enable suspended triggers again and queue all runs that wait, in the order of their messages.

    With --run only these are queued, and the mode stays. A trigger that is disabled stays so. Exit status 1 if a run
    could not be queued.
    """
    given = settings()
    timeout_s = given.worker.default_timeout_s if latest else None
    with connected(given.redis_url) as store:
        if not ids:
            deployed = read_triggers(store, [])
            paused = [path for path in paths if path in deployed and deployed[path].mode == "suspended"]
            if paused:
                set_modes(store, given, paused, "enabled", author=author("trigger resume"), message=message)
        outcomes = {path: suspended.resume(store, _known(store, path), ids or None, timeout_s) for path in paths}
    return _told(outcomes, "queued", ids, json_output=json_output)


@trigger.command("discard")
@_PATHS
@_RUNS
@click.option("--reason", default="", metavar="TEXT", help="Why; kept with the runs.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before discarding all that wait.")
@_JSON
def discard_command(paths: Sequence[str], *, ids: tuple[str, ...], reason: str, yes: bool, json_output: bool) -> int:
    """Cancel runs that wait because their trigger was suspended, all or some. The mode stays."""
    with connected(settings().redis_url) as store:
        waiting = sum(suspended.count(store, _known(store, path)) for path in paths)
        if not ids and waiting:
            confirmed(f"Discard {waiting} runs?", yes=yes)
        outcomes = {path: suspended.discard(store, path, ids or None, person(), reason) for path in paths}
    return _told(outcomes, "discarded", ids, json_output=json_output)


def _known(store: Store, path: str) -> str:
    """A trigger that is deployed, or was, and has runs that wait. Raises UserError."""
    if not suspended.count(store, path):
        read_triggers(store, [path])
    return path


def _change(paths: Sequence[str], mode: Mode, message: str, *, json_output: bool) -> list[ModeChange]:
    given = settings()
    what = {"enabled": "enable", "disabled": "disable", "suspended": "suspend"}[mode]
    with connected(given.redis_url) as store:
        changes = set_modes(store, given, paths, mode, author=author(f"trigger {what}"), message=message)
        waiting = {change.trigger: suspended.count(store, change.trigger) for change in changes}
    for change in changes:
        if json_output:
            click.echo(as_json({**msgspec.structs.asdict(change), "suspended": waiting[change.trigger]}))
            continue
        moved = (
            f"{change.was} → {mode} (deployment {change.deployment})" if change.was != mode else f"is {mode} already"
        )
        click.echo(f"{printable(change.trigger)}: {moved}")
        if waiting[change.trigger] and mode != "suspended":
            click.echo(f"  {number(waiting[change.trigger])} runs wait: headrace trigger resume {change.trigger}")
    return changes


def _told(outcomes: dict[str, Settled], what: str, ids: Sequence[str], *, json_output: bool) -> int:
    """Say what came of it; the exit status. An id has to be found under one of the triggers."""
    for path, outcome in outcomes.items():
        if json_output:
            report: dict[str, Any] = {"trigger": path, what: outcome.done, "refused": outcome.refused}
            click.echo(as_json(report))
            continue
        click.echo(f"{printable(path)}: {number(outcome.done)} {what}")
        for run_id, why in list(outcome.refused.items())[:_SHOWN]:
            click.echo(f"  {run_id} stays: {why}", err=True)
    missing = [each for each in ids if all(each in {*found.not_waiting, *found.refused} for found in outcomes.values())]
    if missing:
        raise UserError(
            f"not {what}: {', '.join(missing)}", hint="headrace runs --state suspended shows those that wait"
        )
    return 1 if any(found.refused for found in outcomes.values()) else 0


def _cells(row: TriggerRow) -> tuple[str, ...]:
    last = local_time(row.last_message_at) if row.last_message_at else "–"
    counts = (row.per_minute, row.lag, row.suspended, row.ended_badly)
    return (row.trigger, row.mode, row.session, last, *map(number, counts))


def _page(details: TriggerDetails) -> list[str]:
    row, session, definition = details.row, details.session, details.definition
    since = f" since {local_time(session.since)}" if session.since else ""
    lines = [
        row.trigger,
        f"  mode       {row.mode}",
        f"  session    {row.session}{since}; {session.session}, epoch {session.epoch}, client id {session.client_id}",
        *([f"             {printable(row.reason)}"] if row.reason else []),
        f"  broker     {definition.broker}" + (f", MQTT {session.protocol}" if session.protocol else ""),
        f"  runs       {row.runnable}",
        f"  version    {encode_definition(definition)[0]}",
    ]
    for topic in definition.topics:
        granted = session.granted.get(topic.topic)
        refused = session.refused.get(topic.topic)
        said = f"refused ({refused})" if refused else "not granted yet" if granted is None else f"granted {granted}"
        own = f" → {topic.runnable}" if topic.runnable else ""
        lines.append(f"  topic      {printable(topic.topic)}  QoS {topic.qos}, {said}{own}")
    last = local_time(row.last_message_at) if row.last_message_at else "none yet"
    lines.append(f"  messages   last {last}; {number(row.per_minute)} in the last minute; {number(row.lag)} wait")
    counts = [f"{name.replace('_', ' ')} {number(count)}" for name, count in sorted(details.counters.items()) if count]
    lines.append(f"  counters   {', '.join(counts) or 'none'}")
    return lines
