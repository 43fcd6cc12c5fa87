"""The triggers page: all of them as they are doing, and switching them on, off, or to waiting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, cast, get_args
from urllib.parse import urlencode

import msgspec
from litestar import Router
from litestar.params import Parameter
from litestar.response import Redirect, Template

from console.auditing import Note
from console.blocking import Blocking
from console.pages.folders import folders_of, lies_in
from console.pages.forms import Asked, action, back, page, text
from console.view import View
from console.workspace import Workspace
from shared import keys, suspended
from shared.config import Settings
from shared.definitions import Mode
from shared.errors import HeadraceError
from shared.modes import set_modes
from shared.run_record import iso_ms
from shared.scripts.call import Arg
from shared.stamps import Stamp
from shared.store import Store
from shared.tables import number
from shared.trigger_list import TriggerDetails, read_details

SHOWN: Final = 50
MORE: Final = 100
SHOWN_MAX: Final = 10_000
BARS: Final = 30
BAR_S: Final = 120


class Edited(msgspec.Struct, frozen=True):
    """Who has changed a trigger last, when, and by what: `push`, `console`, …, '' where that is not told."""

    who: str
    by: str
    at: str


class TriggerLine(msgspec.Struct, frozen=True):
    """A trigger with its runs of the last hour, as bars."""

    details: TriggerDetails
    bars: list[tuple[int, float]]
    lately: int


class Wish(msgspec.Struct, frozen=True):
    """Which triggers, as it stands in the address: `q` is in paths, runnables or topics, '' is any; `first` so many."""

    q: str = ""
    folder: str = ""
    runnable: str = ""
    first: int = SHOWN

    def address(self, **changes: str | int) -> str:
        """The page with these filters, and others in their place."""
        given = msgspec.structs.asdict(self) | {"first": ""} | changes
        pairs = {name: value for name, value in given.items() if value}
        return "/triggers" + (f"?{urlencode(pairs)}" if pairs else "")

    def wants(self, details: TriggerDetails) -> bool:
        """Whether a trigger is one of them."""
        runs = {details.row.runnable, *(topic.runnable for topic in details.definition.topics)}
        return (
            (not self.folder or lies_in(details.row.trigger, self.folder))
            and (not self.runnable or self.runnable in runs)
            and self.q.lower() in _words(details)
        )


class TriggerPage(msgspec.Struct, frozen=True):
    """What the page shows: the first of those that `fit`, of `all` that are deployed; `dead` counts dead letters."""

    lines: list[TriggerLine]
    fit: int
    all: int
    folders: list[str]
    runnables: list[str]
    dead: int


def read_lines(store: Store, wish: Wish) -> TriggerPage:
    """Ask Redis. Raises StoreUnavailable."""
    details = read_details(store, [])
    fitting = [each for each in details if wish.wants(each)]
    dead, now = store.commands([("ZCARD", keys.DEAD), ("TIME",)])
    shown = fitting[: wish.first]
    counted = hourly(store, [each.row.trigger for each in shown], int(now[0]))
    lines = [TriggerLine(each, sparkline(bars), sum(bars)) for each, bars in zip(shown, counted, strict=True)]
    runnables = sorted({path for each in details for path in each.definition.runnables})
    folders = folders_of(each.row.trigger for each in details)
    return TriggerPage(lines, len(fitting), len(details), folders, runnables, dead)


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
async def triggers(
    view: View, work: Blocking, content: Workspace, q: str = "", folder: str = "", runnable: str = "",
    first: Annotated[int, Parameter(ge=1, le=SHOWN_MAX)] = SHOWN,
) -> Template:  # fmt: skip
    """The page."""
    wish = Wish(q.strip(), folder.strip(), runnable.strip(), first)
    found = await work(read_lines, wish)
    edits = {path: edited(change) for path, change in await _changes(content)}
    return view.page(
        "triggers.html", section="triggers", found=found, lines=found.lines, wish=wish, edits=edits,
        more=min(first + MORE, SHOWN_MAX) if found.fit > first else 0, dead_count=found.dead,
    )  # fmt: skip


@action("/triggers/mode", "operate")
async def change_mode(request: Asked, view: View, work: Blocking, settings: Settings, note: Note) -> Redirect:
    """Give a trigger another mode; runs that wait are resumed where that is wanted too."""
    form = await request.form()
    path, mode, resume = text(form, "trigger"), text(form, "mode"), text(form, "resume") == "1"
    there = back(form, f"/triggers/{path}")
    if mode not in get_args(Mode):
        return view.redirect(there, f"{mode!r} is no mode of a trigger.", "bad")
    try:
        was, said, todo = await work(_change, settings, path, cast("Mode", mode), view.who, resume=resume)
    except HeadraceError as error:
        return view.redirect(there, error.message, "bad", error.hint)
    note.tell("set the mode of a trigger", path, before={"mode": was}, after={"mode": mode})
    return view.redirect(there, said, "good", todo)


def _change(store: Store, settings: Settings, path: str, mode: Mode, who: str, *, resume: bool) -> tuple[str, str, str]:
    """The mode that it had, what to say, and what is to be done."""
    (change,) = set_modes(store, settings, [path], mode, author=f"console by {who}", message="")
    if change.was == mode:
        said = f"{path} is {mode} already."
    else:
        said = f"{path}: {change.was} → {mode}, in deployment {change.deployment}."
    if resume:
        settled = suspended.resume(store, path, None, None)
        return change.was, f"{said} {number(settled.done)} runs that waited are queued.", ""
    waiting = suspended.count(store, path)
    if mode == "disabled":
        return (
            change.was,
            said,
            "The session stays at the broker, where QoS 1 and 2 messages wait; it is in force within a second.",
        )
    waits = f"{number(waiting)} runs wait: resume or discard them below." if waiting and mode == "enabled" else ""
    return change.was, said, waits


def edited(change: Stamp) -> Edited:
    """From the author of a deployment, who stands there as `console by alice`."""
    by, separator, who = change.author.partition(" by ")
    return Edited(who, by, iso_ms(change.at)) if separator else Edited(change.author, "", iso_ms(change.at))


async def _changes(content: Workspace) -> list[tuple[str, Stamp]]:
    newest = (await content.changes()).newest
    return [(name.removeprefix("trigger:"), each) for name, each in newest.items() if name.startswith("trigger:")]


def _words(details: TriggerDetails) -> str:
    row = details.row
    own = [topic.runnable or "" for topic in details.definition.topics]
    return " ".join([row.trigger, row.runnable, *row.topics, *own, row.session, row.mode]).lower()


routes = Router("/", route_handlers=[triggers, change_mode])
