"""The overview: is all well, what comes in, what waits, who works."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from litestar import Router
from litestar.response import Template

from console.blocking import Blocking
from console.pages.forms import page
from console.view import View
from shared import keys, samples
from shared.config import Settings
from shared.doctor import Check, check_registries, check_status
from shared.scripts.call import Arg
from shared.status import SessionStatus, Status, read_status
from shared.store import Store


class Process(msgspec.Struct, frozen=True):
    """A process that holds sessions or places messages. `does` says what it has in hand; `idle_ms` since when it was
    last heard of, where that is known.
    """

    kind: str
    name: str
    does: str
    idle_ms: int | None = None


class Rates(msgspec.Struct, frozen=True):
    """How many in the last minute; None while it is not known."""

    messages: float | None = None
    runs: float | None = None
    failures: float | None = None


class Overview(msgspec.Struct, frozen=True):
    """All that the page shows."""

    status: Status
    wrong: list[Check]
    processes: list[Process]
    rates: Rates


def read_overview(store: Store, url: str) -> Overview:
    """Ask Redis. Raises StoreUnavailable."""
    status = read_status(store, url)
    checks = [*check_status(status), check_registries(store)]
    found = [*_holders(status.sessions), *_consumers(store)]
    return Overview(status, [check for check in checks if check.level != "ok"], found, read_rates(store))


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


def _holders(sessions: list[SessionStatus]) -> list[Process]:
    held: dict[str, list[str]] = {}
    for session in sessions:
        if session.holder:
            held.setdefault(session.holder, []).append(session.trigger)
    return [Process("ingest", name, f"holds {len(triggers)} sessions") for name, triggers in sorted(held.items())]


def _consumers(store: Store) -> list[Process]:
    """Dispatchers, as the inbox knows them."""
    command: tuple[Arg, ...] = ("XINFO", "CONSUMERS", keys.INBOX, keys.GROUP)
    if not store.command("EXISTS", keys.INBOX):
        return []
    found = [_fields(each) for each in store.command(*command)]
    return [
        Process("dispatch", each["name"].decode(), f"{each['pending']} messages in hand", int(each["idle"]))
        for each in found
    ]


def _fields(reply: Any) -> dict[str, Any]:
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    return {(name.decode() if isinstance(name, bytes) else name): value for name, value in pairs}


routes = Router("/", route_handlers=[overview])
