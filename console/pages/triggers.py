"""The triggers page: all of them as they are doing, and switching them on, off, or to waiting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast, get_args

import msgspec
from litestar import Router
from litestar.response import Redirect, Template

from console.auditing import Note
from console.blocking import Blocking
from console.pages.forms import Asked, action, back, page, text
from console.view import View
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


def sparkline(counts: Sequence[int], height: int = 22) -> list[tuple[int, float]]:
    """Bars of a small chart: (x, height) for each that is not zero. Pure."""
    most = max(counts, default=0)
    return [(4 * i, max(1.5, round(height * count / most, 1))) for i, count in enumerate(counts) if count]


@page("/triggers")
async def triggers(view: View, work: Blocking, q: str = "") -> Template:
    """The page; `q` is in paths, runnables or topics."""
    found = await work(read_lines)
    wanted = q.strip().lower()
    shown = [line for line in found.lines if not wanted or wanted in _words(line)]
    return view.page("triggers.html", section="triggers", lines=shown, q=q, all=len(found.lines), dead_count=found.dead)


@action("/triggers/mode", "operate")
async def change_mode(request: Asked, view: View, work: Blocking, settings: Settings, note: Note) -> Redirect:
    """Give a trigger another mode; runs that wait are resumed where that is wanted too."""
    form = await request.form()
    path, mode, resume = text(form, "trigger"), text(form, "mode"), text(form, "resume") == "1"
    there = back(form, f"/triggers/{path}")
    if mode not in get_args(Mode):
        return view.redirect(there, f"{mode!r} is no mode of a trigger.", "bad")
    try:
        said, todo = await work(_change, settings, path, cast("Mode", mode), view.who, resume=resume)
    except HeadraceError as error:
        return view.redirect(there, error.message, "bad", error.hint)
    note.tell("set the mode of a trigger", path, after=mode)
    return view.redirect(there, said, "good", todo)


def _change(store: Store, settings: Settings, path: str, mode: Mode, who: str, *, resume: bool) -> tuple[str, str]:
    (change,) = set_modes(store, settings, [path], mode, author=f"console by {who}", message="")
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


routes = Router("/", route_handlers=[triggers, change_mode])
