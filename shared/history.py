"""Reading runs from Redis: newest first, filtered, in portions; or one with all that is known. Only reads."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import msgspec

from shared import keys
from shared.envelope import Envelope
from shared.errors import NotThere, UserError
from shared.flow_nodes import StepNode
from shared.flow_show import read_steps
from shared.run_record import (
    FIELDS,
    Attempt,
    Head,
    Run,
    all_attempts,
    is_run_id,
    iso_ms,
    make_run,
    read_args,
    read_attempt,
    read_data,
    read_head,
)
from shared.runs import LIVE, TERMINAL
from shared.scripts.call import Arg
from shared.scripts.history import Cursor, Wanted, scan_runs
from shared.store import Store
from shared.topics import TopicFilter, matches

STEP: Final = 250
"""Runs that one step of a search looks at: Redis answers nobody else meanwhile, for some 2 ms."""
ATTEMPT_STEP: Final = 100
"""The same where it has to look at what attempts have left."""
PAGE: Final = 250
"""Runs of which a search reads all at once."""
BYTES_AT_ONCE: Final = 8 * 1024 * 1024
"""Messages are fetched in portions of about this size: a payload may have many MiB."""
SCAN: Final = 1_000_000
"""How many runs a search looks at, unless told otherwise."""

_US: Final = 1000  # in a millisecond
_YEAR_2100_S: Final = 4_102_444_800
"""What waits for something else than its time has a score beyond (shared/scripts/_lib.lua)."""
_ANY: Final = Wanted()
_WITH_ERROR: Final = frozenset({*LIVE, *TERMINAL} - {"succeeded"})
_CURSOR: Final = re.compile(r"(\(?\d{1,17}|\+inf)_(\d{1,9})")
_LUA_LEVELS: Final = {"+": "[^/]*", "#": ".*"}


class Query(msgspec.Struct, frozen=True):
    """Which runs: at most `limit`, found among the newest `scan`; None and empty is any.

    `error` is a text in name, message or stack of the error with which the newest attempt ended, whatever its case.
    Times are epoch milliseconds of when runs were first queued, `since` inclusive, `until` exclusive.
    """

    trigger: str | None = None
    runnable: str | None = None
    states: frozenset[str] = frozenset()
    topic: TopicFilter | None = None
    label: str | None = None
    error: str | None = None
    since: int | None = None
    until: int | None = None
    limit: int = 100
    scan: int = SCAN


class RunPage(msgspec.Struct, frozen=True):
    """Runs, newest first, and the cursor of the page after them: None where there are no more. It may hold fewer than
    asked for, where so many had to be `looked_at` that the rest is left to the next page.
    """

    runs: list[Run]
    next: str | None
    looked_at: int


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


def search_page(store: Store, query: Query, cursor: str = "") -> RunPage:
    """One page of a search, from where another one ended; `query.scan` bounds what is looked at for it.

    Raises UserError for a cursor that is none.
    """
    key, down_to = _bounds(query)
    wanted, at = _wanted(query), _read_cursor(cursor) if cursor else _first(query)
    found: list[Run] = []
    looked = 0
    while True:
        give = min(PAGE, query.limit - len(found))
        step = min(_step(wanted, give), query.scan - looked)
        scanned = store.run(scan_runs(key, wanted, at, down_to=down_to, look_at=step, give=give))
        found += [run for run in read_runs(store, scanned.ids) if _fits(query, run)]
        at, looked = scanned.cursor, looked + scanned.looked_at
        if scanned.is_end:
            return RunPage(found, None, looked)
        if len(found) >= query.limit or looked >= query.scan:
            return RunPage(found, _write_cursor(at), looked)


def read_runs(store: Store, ids: Sequence[bytes]) -> Iterator[Run]:
    """The runs with these ids, in their order, without those that are not there."""
    return _with_messages(store, _heads(store, ids))


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
    key, down_to = _bounds(query)
    wanted, cursor = _wanted(query), _first(query)
    give = min(PAGE, query.limit)
    looked = 0
    while looked < query.scan:
        step = min(_step(wanted, give), query.scan - looked)
        found = store.run(scan_runs(key, wanted, cursor, down_to=down_to, look_at=step, give=give))
        runs = read_runs(store, found.ids)
        yield from (run for run in runs if _fits(query, run))
        cursor = found.cursor
        looked += found.looked_at
        looked_at(looked)
        if found.is_end:
            return


def _bounds(query: Query) -> tuple[str, str]:
    """The list that is searched, and the score where it ends."""
    key = keys.runs(query.trigger) if query.trigger else keys.RUNS
    return key, "-inf" if query.since is None else str(query.since * _US)


def _first(query: Query) -> Cursor:
    return Cursor("+inf" if query.until is None else f"({query.until * _US}")


def _write_cursor(cursor: Cursor) -> str:
    score = cursor.score if isinstance(cursor.score, str) else cursor.score.decode()
    return f"{score}_{cursor.behind}"


def _read_cursor(text: str) -> Cursor:
    if (found := _CURSOR.fullmatch(text)) is None:
        raise UserError(f"{text[:100]!r} is no cursor", hint="take the one of the page before, or none")
    return Cursor(found[1], int(found[2]))


def _step(wanted: Wanted, give: int) -> int:
    if wanted == _ANY:
        return give
    return ATTEMPT_STEP if wanted.error or wanted.noted else STEP


def _wanted(query: Query) -> Wanted:
    """What Redis can tell by itself. What it gives is looked at again by `_fits`."""
    return Wanted(
        states=query.states or (_WITH_ERROR if query.error else query.states),
        runnable=query.runnable or "",
        topic=_lua_pattern(query.topic) if query.topic else "",
        error=as_in_json(query.error or ""),
        noted=as_in_json(query.label or "", lower=False),
    )


def _fits(query: Query, run: Run) -> bool:
    return (
        (not query.states or run.state in query.states)
        and query.runnable in {None, run.runnable}
        and (query.topic is None or (run.topic is not None and matches(query.topic, run.topic)))
        and (query.label is None or query.label in run.labels)
        and (query.error is None or says(run.error, query.error))
    )


def says(error: Mapping[str, Any] | None, text: str) -> bool:
    """Whether name, message or stack of an error contain a text, whatever its case."""
    wanted = text.lower()
    return error is not None and any(wanted in str(error[part]).lower() for part in ("name", "message", "stack"))


def as_in_json(text: str, *, lower: bool = True) -> str:
    """A text as it stands inside of a JSON document; letters that Lua can lower are lowered."""
    found = msgspec.json.encode(text).decode()[1:-1]
    return "".join(c.lower() if c.isascii() else c for c in found) if lower else found


def _lua_pattern(topic: TopicFilter) -> str:
    """A pattern that finds at least what the filter matches."""
    levels = [_LUA_LEVELS.get(level) or re.sub(r"([^\w\s]|_)", r"%\1", level, flags=re.ASCII) for level in topic.levels]
    if levels[-1] != _LUA_LEVELS["#"]:
        return f"^{'/'.join(levels)}$"
    return f"^{'/'.join(levels[:-1])}"


def _heads(store: Store, ids: Sequence[bytes]) -> list[Head]:
    commands: list[tuple[Arg, ...]] = []
    for run_id in ids:
        key = keys.job(run_id.decode())
        commands += (("HMGET", key, *FIELDS), ("HSTRLEN", key, "data"))
    replies = store.commands(commands)
    heads = [read_head(run_id.decode(), replies[2 * i], replies[2 * i + 1]) for i, run_id in enumerate(ids)]
    return [head for head in heads if head is not None]


def _with_messages(store: Store, heads: Sequence[Head]) -> Iterator[Run]:
    for portion in _portions(heads):
        commands: list[tuple[Arg, ...]] = []
        for head in portion:
            last = ("XREVRANGE", keys.results(head.id), "+", "-", "COUNT", 1)
            commands += (("HGET", keys.job(head.id), "data"), last)
        replies = store.commands(commands)
        for head, data, entries in zip(portion, replies[::2], replies[1::2], strict=True):
            spec, message = read_data(data)
            yield make_run(head, spec, message, read_attempt(entries[0]) if entries else None)


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
