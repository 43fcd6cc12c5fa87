"""How things are: counters, sessions, workers, checks, backlog, and their course."""

from __future__ import annotations

import time
from typing import Annotated, Any

import msgspec
from litestar import Router, get, post
from litestar.params import Parameter

from console.api.portions import After, Many, portion
from console.auditing import Note
from console.blocking import Blocking
from console.errors import conflict
from console.needs import needs
from shared import samples
from shared.alerts.state import read_active
from shared.broker_queues import BrokerStatus
from shared.config import Settings
from shared.doctor import Check, examine
from shared.errors import NotThere, UserError
from shared.left import Wish
from shared.processes import Process, list_processes
from shared.run_record import iso_ms
from shared.samples import Point
from shared.sessions import SessionRow, ask, forget, list_sessions
from shared.status import Identity, SessionStatus, Status, WorkerStatus, read_status
from shared.store import Store
from shared.workspace.alerts import AlertKind


class StatusPage(Status, frozen=True, kw_only=True):
    """Of sessions, counters and identities those of some triggers, by path; the total is that of all. `next`: the
    cursor of the page after, None where there is none.
    """

    next: str | None


class Counted(msgspec.Struct, frozen=True):
    """The cells of all and, page by page, per trigger, and the three identities that hold between them."""

    at: str
    total: dict[str, int]
    triggers: dict[str, dict[str, int]]
    identities: list[Identity]
    next: str | None


class Backlog(msgspec.Struct, frozen=True):
    """What waits, and for how long the oldest of it (None: nothing waits)."""

    at: str
    inbox_length: int
    queue_length: int
    claimed: int
    running: int
    dead: int
    oldest_unprocessed_age_ms: int | None


class Sessions(msgspec.Struct, frozen=True):
    """Of some triggers, by path. `sessions`: as they report themselves, of deployed ones. `all`: with those that were
    left behind.
    """

    sessions: list[SessionStatus]
    all: list[SessionRow]
    next: str | None


class Alert(msgspec.Struct, frozen=True):
    """Something that is wrong. `told_at` None: nobody has been told, for it has not lasted long enough."""

    kind: AlertKind
    subject: str
    what: str
    fix: str
    since: str
    told_at: str | None


class Series(msgspec.Struct, frozen=True):
    """The course of things, oldest point first. `every_s`: how often it is looked at."""

    every_s: int
    points: list[Point]


class Asked(msgspec.Struct, frozen=True):
    """What an ingest process was asked to do with a session."""

    session: str
    wish: Wish


@get("/status", opt=needs("read"))
async def status(work: Blocking, settings: Settings, limit: Many = 250, cursor: After = "") -> StatusPage:
    """Everything at one instant, of triggers page by page."""
    return status_page(await work(read_status, settings.redis_url), limit, cursor)


@get("/counters", opt=needs("read"))
async def counters(work: Blocking, settings: Settings, limit: Many = 250, cursor: After = "") -> Counted:
    """Every message is accounted for."""
    found = status_page(await work(read_status, settings.redis_url), limit, cursor)
    return Counted(found.at, found.counters.total, found.counters.triggers, found.identities, found.next)


@get("/backlog", opt=needs("read"))
async def backlog(work: Blocking, settings: Settings) -> Backlog:
    """What waits."""
    found = await work(read_status, settings.redis_url)
    return Backlog(
        found.at, found.inbox_length, found.queue_length, found.claimed, found.running, found.dead,
        found.oldest_unprocessed_age_ms,
    )  # fmt: skip


@get("/workers", opt=needs("read"))
async def workers(work: Blocking, settings: Settings) -> list[WorkerStatus]:
    """The workers, and what each has in hand."""
    return (await work(read_status, settings.redis_url)).workers


@get("/processes", opt=needs("read"))
async def processes(work: Blocking) -> list[Process]:
    """The processes that Redis has heard of: ingest, dispatch and workers."""
    return await work(list_processes)


@get("/doctor", opt=needs("read"))
async def doctor(work: Blocking, settings: Settings) -> list[Check]:
    """Whether the set-up is as it should be, and how to mend what is not."""
    return await work(examine, settings.redis_url)


@get("/brokers", opt=needs("read"))
async def brokers(work: Blocking, settings: Settings) -> list[BrokerStatus]:
    """How full the queues of brokers are and what they have dropped, as far as they tell of themselves."""
    return (await work(read_status, settings.redis_url)).brokers


@get("/alerts", opt=needs("read"))
async def alerts(work: Blocking) -> list[Alert]:
    """What is wrong now, as alerts tell of it, the oldest first."""
    return [
        Alert(
            each.kind, each.subject, each.what, each.fix, iso_ms(each.since_ms),
            iso_ms(each.told_ms) if each.open else None,
        )
        for each in await work(read_active)
    ]  # fmt: skip


@get("/sessions", opt=needs("read"))
async def sessions(work: Blocking, settings: Settings, limit: Many = 250, cursor: After = "") -> Sessions:
    """The MQTT sessions."""
    found, known = (await work(read_status, settings.redis_url)).sessions, await work(list_sessions)
    paths, more = portion({each.trigger for each in found} | {each.trigger for each in known}, limit, cursor)
    wanted = frozenset(paths)
    reports = [each for each in found if each.trigger in wanted]
    return Sessions(reports, [each for each in known if each.trigger in wanted], more)


@post("/sessions/{session:str}/drain", opt=needs("operate"), status_code=202)
async def drain_session(session: str, work: Blocking, note: Note) -> Asked:
    """Run what waits in a session that was left behind, then end it at its broker."""
    return await _ask(session, "drain", work, note)


@post("/sessions/{session:str}/end", opt=needs("operate"), status_code=202)
async def end_session(session: str, work: Blocking, note: Note) -> Asked:
    """End a session that was left behind; what waits in it is lost."""
    return await _ask(session, "end", work, note)


@post("/sessions/{session:str}/forget", opt=needs("operate"), status_code=204)
async def forget_session(session: str, work: Blocking, note: Note) -> None:
    """Remove the record of a session that was left behind; the broker is not told."""
    note.tell("forget session", session)
    await work(forget, session)


@get("/series", opt=needs("read"))
async def series(
    work: Blocking,
    minutes: Annotated[int, Parameter(ge=1, le=1440)] = 15,
    points: Annotated[int, Parameter(ge=2, le=samples.POINTS_MAX)] = 180,
) -> Series:
    """Messages, runs, failures and dead letters per second, backlog and its age, over the last minutes."""
    since = time.time_ns() // 1_000_000 - minutes * 60_000

    def read(store: Store) -> list[Point]:
        reply: Any = store.command(*samples.samples_command(since))
        return samples.points_of(samples.read_samples(reply), points)

    return Series(samples.EVERY_S, await work(read))


def status_page(status: Status, limit: int, after: str) -> StatusPage:
    """The part of some triggers. Pure."""
    paths, more = portion({*status.counters.triggers, *(each.trigger for each in status.sessions)}, limit, after)
    wanted = frozenset(paths)
    cells = {path: each for path, each in status.counters.triggers.items() if path in wanted}
    bounded = msgspec.structs.replace(
        status,
        sessions=[each for each in status.sessions if each.trigger in wanted],
        counters=msgspec.structs.replace(status.counters, triggers=cells),
        identities=[each for each in status.identities if each.trigger is None or each.trigger in wanted],
    )
    return StatusPage(**{name: getattr(bounded, name) for name in Status.__struct_fields__}, next=more)


async def _ask(session: str, wish: Wish, work: Blocking, note: Note) -> Asked:
    note.tell(f"{wish} session", session)
    try:
        await work(ask, session, wish)
    except NotThere:
        raise
    except UserError as error:
        raise conflict(error.message) from error
    return Asked(session, wish)


routes = Router(
    "/",
    route_handlers=[
        status, counters, backlog, workers, processes, doctor, brokers, alerts, sessions, drain_session, end_session,
        forget_session, series,
    ],
)  # fmt: skip
