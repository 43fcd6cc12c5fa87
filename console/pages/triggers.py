"""The triggers page: all of them as they are doing, and switching them on, off, or to waiting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast, get_args

import msgspec
from litestar import Request, Response, get, post
from litestar.response import Redirect

from console.pages.site import Site
from console.samples import sparkline
from shared import keys, suspended
from shared.config import Settings
from shared.definitions import Mode
from shared.errors import HeadraceError
from shared.modes import set_modes
from shared.scripts.call import Arg
from shared.store import Store
from shared.tables import number
from shared.trigger_list import TriggerDetails, read_details

BARS: Final = 30
BAR_S: Final = 120
_WHAT: Final = {"enabled": "enabled", "disabled": "disabled", "suspended": "suspended"}


class TriggerLine(msgspec.Struct, frozen=True):
    """A trigger with its runs of the last hour, as bars."""

    details: TriggerDetails
    bars: list[tuple[int, float]]
    lately: int


class TriggerPage(msgspec.Struct, frozen=True):
    """What the page shows; `dead` counts dead letters."""

    lines: list[TriggerLine]
    dead: int


def read_lines(store: Store) -> TriggerPage:
    """Ask Redis. Raises StoreUnavailable."""
    details = read_details(store, [])
    dead, now = store.commands([("ZCARD", keys.DEAD), ("TIME",)])
    counted = hourly(store, [each.row.trigger for each in details], int(now[0]))
    lines = [TriggerLine(each, sparkline(bars), sum(bars)) for each, bars in zip(details, counted, strict=True)]
    return TriggerPage(lines, dead)


def hourly(store: Store, triggers: Sequence[str], now_s: int) -> list[list[int]]:
    """For each trigger its runs of the last hour, oldest bar first."""
    first = now_s - BARS * BAR_S
    commands: list[tuple[Arg, ...]] = []
    for path in triggers:
        for index in range(BARS):
            low, high = first + index * BAR_S, first + (index + 1) * BAR_S
            commands.append(("ZCOUNT", keys.runs(path), low * 1_000_000, f"({high * 1_000_000}"))
    replies = store.commands(commands)
    return [replies[BARS * index : BARS * (index + 1)] for index in range(len(triggers))]


@get("/triggers")
async def triggers(site: Site, q: str = "") -> Response[str]:
    """The page; `q` is in paths, runnables or topics."""
    page = await site.read(read_lines)
    wanted = q.strip().lower()
    shown = [line for line in page.lines if not wanted or wanted in _words(line)]
    return site.page("triggers.html", section="triggers", lines=shown, q=q, all=len(page.lines), dead_count=page.dead)


@post("/triggers/mode")
async def change_mode(site: Site, request: Request[Any, Any, Any]) -> Redirect:
    """Give a trigger another mode; runs that wait are resumed where that is wanted too."""
    site.needs("deploy")
    form = await request.form()
    path, mode = str(form.get("trigger") or ""), str(form.get("mode") or "")
    back = site.back(form, f"/triggers/{path}")
    if mode not in get_args(Mode):
        return site.go(back, "error", f"{mode!r} is no mode of a trigger.")
    try:
        said, todo = await site.read(_change, site.settings, path, cast("Mode", mode), site.who, form.get("resume") == "1")
    except HeadraceError as error:
        return site.go(back, "error", error.message, error.hint)
    return site.go(back, "ok", said, todo)


def _change(store: Store, settings: Settings, path: str, mode: Mode, who: str, resume: bool) -> tuple[str, str]:  # noqa: FBT001
    (change,) = set_modes(store, settings, [path], mode, author=who, message="")
    if change.was == mode:
        said = f"{path} is {mode} already."
    else:
        said = f"{path}: {change.was} → {mode}, in deployment {change.deployment}."
    if resume:
        settled = suspended.resume(store, path, None, None)
        return f"{said} {number(settled.done)} runs that waited are queued.", ""
    waiting = suspended.count(store, path)
    if mode == "disabled":
        return said, "The session stays at the broker, where QoS 1 and 2 messages wait; it is in force within a second."
    return said, f"{number(waiting)} runs wait: resume or discard them below." if waiting and mode == "enabled" else ""


def _words(line: TriggerLine) -> str:
    row = line.details.row
    own = [topic.runnable or "" for topic in line.details.definition.topics]
    return " ".join([row.trigger, row.runnable, *row.topics, *own, row.session, row.mode]).lower()
