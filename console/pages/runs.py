"""The runs page: the history, newest first, by filters that stand in the address; and what is done to many at once."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import msgspec
from litestar import Router
from litestar.datastructures import MultiDict
from litestar.response import Redirect, Template

from console.auditing import Note
from console.blocking import Blocking
from console.pages.filters import many
from console.pages.folders import folders_of
from console.pages.forms import Asked, action, back, page, text, texts
from console.pages.payloads import one_line
from console.pages.run_filters import (
    MADE_BY,
    PER_PAGE,
    SINCE,
    STATES,
    query_of,
    read_filters,
)
from console.view import Level, View
from shared import keys
from shared.again import Edits, run_again
from shared.cancelling import cancel, cancel_all
from shared.deploy import read_now
from shared.errors import HeadraceError, UserError
from shared.history import RunPage, search_page
from shared.run_page import milliseconds
from shared.run_query import Query
from shared.run_record import Run
from shared.store import Store
from shared.tables import number, printable

REASON_MAX: Final = 1000
CANCEL_S: Final = 20.0
"""So long a form may take; what is left then is left to the next one."""
_WIDTH: Final = 1000
_HEIGHT: Final = 80
_LONGEST_MS: Final = 60_000.0
_BADLY: Final = frozenset({"failed", "lost", "interrupted"})


class Dot(msgspec.Struct, frozen=True):
    """A run in the graph: where, in which tone, and what is said of it."""

    x: float
    y: float
    tone: str
    title: str


class RunList(msgspec.Struct, frozen=True):
    """A page of runs, what can be chosen, and how many runs and dead letters there are."""

    page: RunPage
    triggers: list[str]
    runnables: list[str]
    folders: list[str]
    workers: list[str]
    kept: int
    dead: int


def read_list(store: Store, query: Query, cursor: str) -> RunList:
    """Ask Redis. Raises StoreUnavailable."""
    deployed = read_now(store)
    kept, dead, workers = store.commands([("ZCARD", keys.RUNS), ("ZCARD", keys.DEAD), ("SMEMBERS", keys.WORKERS)])
    runnables = sorted({*deployed.of_kind("script"), *deployed.of_kind("flow")})
    names, triggers = sorted(name.decode() for name in workers), list(deployed.of_kind("trigger"))
    page = search_page(store, query, cursor)
    return RunList(page, triggers, runnables, folders_of(runnables), names, kept, dead)


def outcome(run: Run) -> str:
    """Result or error on one line."""
    if run.error is not None:
        return printable(f"{run.error['name']}: {run.error['message']}")[:300]
    return "" if run.result is None else one_line(run.result)


def graph(runs: Sequence[Run]) -> list[Dot]:
    """Runs by when they were queued and how long they took, on a scale of tenfold steps from 0.1 ms to a minute."""
    placed = [(datetime.fromisoformat(run.queued_at).timestamp(), run) for run in runs if run.queued_at]
    if not placed:
        return []
    first, last = min(at for at, _ in placed), max(at for at, _ in placed)
    dots = []
    for at, run in placed:
        took = milliseconds(run.started_at, run.ended_at)
        share = math.log10(max(1.0, min(took or 0, _LONGEST_MS) * 10)) / math.log10(_LONGEST_MS * 10)
        x = 8 + (_WIDTH - 16) * ((at - first) / (last - first) if last > first else 0.5)
        tone = "bad" if run.state in _BADLY else "ok" if run.state == "succeeded" else "busy"
        dots.append(Dot(round(x, 1), round(_HEIGHT - 6 - (_HEIGHT - 12) * share, 1), tone, f"{run.id} {run.state}"))
    return dots


@page("/runs")
async def runs(request: Asked, view: View, work: Blocking) -> Template:
    """The page; its filters stand in the address."""
    filters, after = read_filters(request.query_params), request.query_params.get("after", "")
    wrong = ""
    try:
        found = await work(read_list, query_of(filters, time.time_ns() // 1000), after)
    except UserError as problem:
        wrong, found = str(problem), await work(read_list, Query(limit=1, scan=1), "")
    shown = [] if wrong else found.page.runs
    older = filters.address(after=found.page.next) if found.page.next and not wrong else ""
    return view.page(
        "runs.html", section="runs", filters=filters, found=found, runs=shown, wrong=wrong, older=older,
        is_first=not after, states=STATES, since_choices=SINCE, outcome=outcome, took=took_ms, dots=graph(shown),
        made_by=MADE_BY, per_page=PER_PAGE, dead_count=found.dead,
    )  # fmt: skip


def took_ms(run: Run) -> float | None:
    """Milliseconds that the newest start took."""
    return milliseconds(run.started_at, run.ended_at)


@action("/runs/picked", "operate")
async def picked_runs(request: Asked, view: View, work: Blocking, note: Note) -> Redirect:
    """Cancel the runs that were picked, or run them again."""
    form = await request.form()
    ids, there = texts(form, "id"), back(form, "/runs")
    if not ids:
        return view.redirect(there, "No run was picked.", "warn")
    if text(form, "do") == "cancel":
        was = [each.was for each in await work(cancel, ids, view.who, "") if each.is_done]
        stopping, ended = was.count("running"), len(ids) - len(was)
        if was:
            note.tell("cancel runs", ", ".join(ids), after=len(was))
        said = cancelled_words(len(was) - stopping, stopping, ended)
        return view.redirect(there, said, "warn" if ended else "good")
    made, problems = await work(_again_all, ids, view.who)
    note.tell("run again", ", ".join(ids), after=made)
    level: Level = "warn" if problems else "good"
    return view.redirect(there, f"{number(made)} new runs are queued.", level, "; ".join(problems[:3]))


@action("/runs/fitting", "operate")
async def fitting_runs(request: Asked, view: View, work: Blocking, note: Note) -> Redirect:
    """Cancel all that the filters find and that have not ended."""
    form = await request.form()
    there = back(form, "/runs")
    filters = read_filters(MultiDict(parse_qsl(urlsplit(there).query)))
    if not filters.is_narrow:
        return view.redirect(there, "Choose a filter first: it says which runs are meant.", "warn")
    query = query_of(filters, time.time_ns() // 1000)
    done = await work(cancel_all, query, view.who, text(form, "reason")[:REASON_MAX], CANCEL_S)
    note.tell("cancel runs", before=filters, after=done)
    said = cancelled_words(done.cancelled, done.stopping, 0)
    more = "There are more: do it again." if done.more else ""
    return view.redirect(there, said, "warn" if done.more else "good", more)


def cancelled_words(cancelled: int, stopping: int, ended: int) -> str:
    """What came of cancelling. Pure."""
    parts = [f"{many(cancelled, 'run')} cancelled"] if cancelled or not (stopping or ended) else []
    parts += [f"{number(stopping)} told to stop: the worker ends what runs"] if stopping else []
    parts += [f"{number(ended)} had ended already"] if ended else []
    return "; ".join(parts) + "."


def _again_all(store: Store, ids: Sequence[str], who: str) -> tuple[int, list[str]]:
    problems: list[str] = []
    for each in ids:
        try:
            run_again(store, each, Edits(), None, who)
        except HeadraceError as error:
            problems.append(error.message)
    return len(ids) - len(problems), problems


routes = Router("/", route_handlers=[runs, picked_runs, fitting_runs])
