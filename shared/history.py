"""Reading runs from Redis: newest first, filtered, in portions; or one with all that is known. Only reads."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import msgspec

from shared import keys
from shared.envelope import Envelope
from shared.errors import NotThere, UserError
from shared.flow_nodes import StepNode
from shared.flow_show import read_steps
from shared.run_query import Query, Seen, fits
from shared.run_record import (
    FIELDS,
    Attempt,
    Head,
    Run,
    all_attempts,
    is_run_id,
    iso_ms,
    iso_us,
    make_run,
    read_args,
    read_attempt,
    read_data,
    read_head,
)
from shared.run_walk import Walk
from shared.scripts.call import Arg
from shared.scripts.history import Cursor
from shared.store import Store

PAGE: Final = 250
"""Runs of which a search reads all at once."""
BYTES_AT_ONCE: Final = 8 * 1024 * 1024
"""Messages are fetched in portions of about this size: a payload may have many MiB."""
BYTES_OF_A_PAGE: Final = 32 * 1024 * 1024
"""What is read for one page of runs, about: the rest is left to the page after."""

_YEAR_2100_S: Final = 4_102_444_800
"""What waits for something else than its time has a score beyond (shared/scripts/_lib.lua)."""
_CURSOR: Final = re.compile(r"(\(?\d{1,17}|\+inf)_(\d{1,9})")


class RunPage(msgspec.Struct, frozen=True):
    """Runs, newest first, and the cursor of the page after them: None where there are no more. It may hold fewer than
    asked for, where so many had to be `looked_at` that the rest is left to the next page: it has looked `back_to` runs
    that were made then, None where it has looked at all.
    """

    runs: list[Run]
    next: str | None
    looked_at: int
    back_to: str | None = None


class RunDetails(msgspec.Struct, frozen=True):
    """A run with its message and the attempts that ended, oldest first; Redis keeps the last ten.

    A run that no message made has the arguments of its `main` instead. `origin` is who made it: `message`, `api`, or
    `child` for another run, which is its `parent`; `root` is the first of that line.
    `handler`: it is the error handler's run, for its `parent`. `due_at`: when a scheduled run is to be tried again, or
    to go on. `steps` are those of a flow.
    """

    run: Run
    message: Envelope | None
    captures: dict[str, str]
    attempts: list[Attempt]
    args: dict[str, Any] | None = None
    origin: str = "message"
    parent: str | None = None
    root: str | None = None
    due_at: str | None = None
    is_flow: bool = False
    steps: list[StepNode] = []


def search(store: Store, query: Query, looked_at: Callable[[int], None]) -> Iterator[Run]:
    """Runs newest first; `looked_at` is told after each step how many were looked at so far.

    Runs that are placed meanwhile are not shown, runs that are forgotten meanwhile are left out.
    """
    return islice(_matching(store, query, looked_at), query.limit)


def candidates(store: Store, query: Query) -> Iterator[str]:
    """The ids of all runs that may fit, newest first, as far as Redis can tell by itself: whoever reads the runs has to
    look again. `query.limit` does not count.
    """
    walk, looked = Walk(store, query), 0
    while looked < query.scan:
        found = walk.step(PAGE, query.scan - looked, sys.maxsize)
        yield from (run_id.decode() for run_id in found.ids)
        if found.is_end:
            return
        looked += found.looked_at


def search_page(store: Store, query: Query, cursor: str = "") -> RunPage:
    """One page of a search, from where another one ended; `query.scan` bounds what is looked at for it.

    Raises UserError for a cursor that is none.
    """
    walk = Walk(store, query, _read_cursor(cursor) if cursor else None)
    found: list[Run] = []
    looked = size = 0
    while True:
        scanned = walk.step(min(PAGE, query.limit - len(found)), query.scan - looked, BYTES_AT_ONCE)
        heads = _heads(store, scanned.ids)
        found += [seen.run for seen in _with_messages(store, heads) if fits(query, seen)]
        looked, size = looked + scanned.looked_at, size + sum(head.size for head in heads)
        if scanned.is_end:
            return RunPage(found, None, looked)
        if len(found) >= query.limit or looked >= query.scan or size >= BYTES_OF_A_PAGE:
            return RunPage(found, _write_cursor(scanned.cursor), looked, _time_of(scanned.cursor))


def read_runs(store: Store, ids: Sequence[bytes]) -> Iterator[Run]:
    """The runs with these ids, in their order, without those that are not there."""
    return (seen.run for seen in _with_messages(store, _heads(store, ids)))


def show(store: Store, run_id: str) -> RunDetails:
    """All that is known of a run. NotThere if there is none with this id."""
    heads = _heads(store, [run_id.encode()]) if is_run_id(run_id) else []
    if not heads:
        hint = "`headrace runs` lists ids; old runs are forgotten"
        raise NotThere(f"there is no run {run_id}", hint=hint, run=run_id)
    (head,) = heads
    data, entries, due_s = store.commands(
        [
            ("HGET", keys.job(run_id), "data"),
            ("XRANGE", keys.results(run_id), "-", "+"),
            ("ZSCORE", keys.RQ_SCHEDULED, run_id),
        ]
    )
    due_at = read_due(due_s)
    steps = read_steps(store, run_id, head.state)
    return msgspec.structs.replace(make_details(head, data, entries), due_at=due_at, steps=steps)


def read_due(due_s: bytes | None) -> str | None:
    """When a scheduled run is to go on, by its score; None where it waits for something else than its time."""
    return None if due_s is None or float(due_s) > _YEAR_2100_S else iso_ms(int(float(due_s) * 1000))


def make_details(head: Head, data: bytes | None, entries: Sequence[tuple[bytes, Mapping[bytes, bytes]]]) -> RunDetails:
    """Put together what was read: the job hash, its data, and its stream of results."""
    spec, message = read_data(data)
    recorded = [read_attempt(entry) for entry in entries]
    run = make_run(head, spec, message, recorded[-1] if recorded else None)
    attempts = all_attempts(head, recorded)
    if spec is None:
        return RunDetails(run, message, {}, attempts)
    origin = spec.origin or "message"
    return RunDetails(
        run, message, spec.captures, attempts, read_args(spec), origin, spec.parent, spec.root, is_flow=spec.is_flow
    )


def _matching(store: Store, query: Query, looked_at: Callable[[int], None]) -> Iterator[Run]:
    walk, looked = Walk(store, query), 0
    while looked < query.scan:
        found = walk.step(min(PAGE, query.limit), query.scan - looked, BYTES_AT_ONCE)
        yield from (seen.run for seen in _with_messages(store, _heads(store, found.ids)) if fits(query, seen))
        looked += found.looked_at
        looked_at(looked)
        if found.is_end:
            return


def _write_cursor(cursor: Cursor) -> str:
    score = cursor.score if isinstance(cursor.score, str) else cursor.score.decode()
    return f"{score}_{cursor.behind}"


def _time_of(cursor: Cursor) -> str | None:
    score = cursor.score if isinstance(cursor.score, str) else cursor.score.decode()
    return iso_us(int(score)) if score.isdecimal() else None


def _read_cursor(text: str) -> Cursor:
    if (found := _CURSOR.fullmatch(text)) is None:
        raise UserError(f"{text[:100]!r} is no cursor", hint="take the one of the page before, or none")
    return Cursor(found[1], int(found[2]))


def _heads(store: Store, ids: Sequence[bytes]) -> list[Head]:
    commands: list[tuple[Arg, ...]] = []
    for run_id in ids:
        key = keys.job(run_id.decode())
        commands += (("HMGET", key, *FIELDS), ("HSTRLEN", key, "data"), ("ZSCORE", keys.RUNS, run_id))
    replies = store.commands(commands)
    heads = [read_head(run_id.decode(), *replies[3 * i : 3 * i + 3]) for i, run_id in enumerate(ids)]
    return [head for head in heads if head is not None]


def _with_messages(store: Store, heads: Sequence[Head]) -> Iterator[Seen]:
    for portion in _portions(heads):
        commands: list[tuple[Arg, ...]] = []
        for head in portion:
            newest = ("XREVRANGE", keys.results(head.id), "+", "-", "COUNT", 1)
            commands += (("HGET", keys.job(head.id), "data"), newest)
        replies = store.commands(commands)
        for head, data, entries in zip(portion, replies[::2], replies[1::2], strict=True):
            spec, message = read_data(data)
            last = read_attempt(entries[0]) if entries else None
            yield Seen(make_run(head, spec, message, last), spec, message, last)


def _portions(heads: Sequence[Head]) -> Iterator[list[Head]]:
    portion: list[Head] = []
    size = 0
    for head in heads:
        if portion and size + head.size > BYTES_AT_ONCE:
            yield portion
            portion, size = [], 0
        portion.append(head)
        size += head.size
    if portion:
        yield portion
