"""The overview: is all well, what comes in, what waits, who works."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Final, cast, get_args

import msgspec
from litestar import Router
from litestar.response import Redirect, Template

from console.auditing import Note
from console.blocking import Blocking
from console.pages.filters import many
from console.pages.forms import Asked, action, page, text
from console.view import View
from shared import samples
from shared.alerts.state import read_active
from shared.config import Settings
from shared.doctor import Check, examine_running
from shared.errors import HeadraceError
from shared.left import Wish
from shared.processes import Process, list_processes
from shared.run_record import iso_ms
from shared.sessions import SessionRow, ask, list_sessions
from shared.status import SessionStatus, Status, read_status
from shared.store import Store

SHOWN: Final = 20
"""Sessions of each kind; the page of triggers has all."""
_WELL: Final = frozenset({"connected", "disabled"})


class Row(msgspec.Struct, frozen=True):
    """A process, what it does, and since when it was last heard of (None: it holds its lease)."""

    kind: str
    name: str
    does: str
    state: str
    idle_ms: int | None = None


class Rates(msgspec.Struct, frozen=True):
    """How many in the last minute; None while it is not known."""

    messages: float | None = None
    runs: float | None = None
    failures: float | None = None


class AlertRow(msgspec.Struct, frozen=True):
    """An alert that is active. `told_at` None: nobody has been told."""

    kind: str
    subject: str
    what: str
    fix: str
    since: str
    told_at: str | None


class Trouble(msgspec.Struct, frozen=True):
    """Something that is wrong, and the alert that tells people of it, if there is one."""

    check: Check
    alert: AlertRow | None


class Overview(msgspec.Struct, frozen=True):
    """All that the page shows. `alerts` are those that no `wrong` speaks of."""

    status: Status
    wrong: list[Trouble]
    alerts: list[AlertRow]
    processes: list[Row]
    sessions: list[SessionStatus]
    left: list[SessionRow]
    all_left: int
    rates: Rates


def read_overview(store: Store, url: str) -> Overview:
    """Ask Redis. Raises StoreUnavailable."""
    status = read_status(store, url)
    wrong = [check for check in examine_running(store, status) if check.level != "ok"]
    left = [row for row in list_sessions(store) if row.left_at is not None]
    troubles, alerts = told_once(wrong, read_alerts(store))
    processes = process_rows(status.sessions, list_processes(store))
    sessions = first_sessions(status.sessions)
    return Overview(status, troubles, alerts, processes, sessions, left[:SHOWN], len(left), read_rates(store))


def first_sessions(sessions: Sequence[SessionStatus]) -> list[SessionStatus]:
    """As many as the page shows: those that are not well before the others, each by path. Pure."""
    return sorted(sessions, key=lambda session: (session.state in _WELL, session.trigger))[:SHOWN]


def told_once(wrong: Sequence[Check], alerts: Sequence[AlertRow]) -> tuple[list[Trouble], list[AlertRow]]:
    """What is wrong with its alerts, and the other alerts. Pure."""
    of = {each: alert for alert in alerts for each in (f"{alert.kind} {alert.subject}", alert.kind)}
    troubles = [Trouble(check, of.get(check.name)) for check in wrong]
    told = {id(each.alert) for each in troubles}
    return troubles, [alert for alert in alerts if id(alert) not in told]


def read_alerts(store: Store) -> list[AlertRow]:
    """Those that are active, the oldest first."""
    return [
        AlertRow(
            each.kind.replace("_", " "), each.subject, each.what, each.fix, iso_ms(each.since_ms),
            iso_ms(each.told_ms) if each.open else None,
        )
        for each in read_active(store)
    ]  # fmt: skip


def process_rows(sessions: Sequence[SessionStatus], processes: Sequence[Process]) -> list[Row]:
    """All but the workers. An ingest process is known by the sessions that it holds; one that holds none stands by.
    One that is gone and has left nothing lying is not shown.
    """
    held = Counter(session.holder.partition("/")[0] for session in sessions if session.holder)
    rows = [Row("ingest", name, f"holds {many(count, 'session')}", "alive") for name, count in sorted(held.items())]
    rows += [
        Row("ingest", process.name, "stands by", "alive", process.idle_ms)
        for process in processes
        if process.kind == "ingest" and process.state == "alive" and process.name not in held
    ]
    rows += [
        Row("dispatch", process.name, f"{many(process.doing, 'message')} in hand", process.state, process.idle_ms)
        for process in processes
        if process.kind == "dispatch" and (process.state == "alive" or process.doing)
    ]
    return rows


def read_rates(store: Store) -> Rates:
    """What the samples of the last minute say."""
    since = time.time_ns() // 1_000_000 - (60 + samples.EVERY_S) * 1000
    points = samples.points_of(samples.read_samples(store.command(*samples.samples_command(since))))
    if not points:
        return Rates()
    minute = 60 / len(points)
    return Rates(
        sum(point.messages for point in points) * minute,
        sum(point.runs for point in points) * minute,
        sum(point.failures for point in points) * minute,
    )


@page("/")
async def overview(view: View, work: Blocking, settings: Settings) -> Template:
    """The page."""
    found = await work(read_overview, settings.redis_url)
    return view.page("overview.html", section="overview", page=found, rates=found.rates, dead_count=found.status.dead)


@action("/sessions/{session:str}", "operate")
async def settle_session(session: str, request: Asked, view: View, work: Blocking, note: Note) -> Redirect:
    """Drain or end a session that was left behind."""
    wish = text(await request.form(), "do")
    if wish not in get_args(Wish):
        return view.redirect("/", f"{wish!r} is nothing that can be done to a session.", "bad")
    try:
        await work(ask, session, cast("Wish", wish))
    except HeadraceError as error:
        return view.redirect("/", error.message, "bad", error.hint)
    note.tell(f"{wish} session", session)
    said = "What waits there is run, then the session is ended" if wish == "drain" else "The session is being ended"
    return view.redirect("/", f"{said}: an ingest process does it.")


routes = Router("/", route_handlers=[overview, settle_session])
