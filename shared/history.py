"""Reading runs from Redis: newest first, filtered, in portions; or one with all that is known. Only reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import msgspec

from shared import keys
from shared.envelope import Envelope
from shared.errors import UserError
from shared.run_record import (
    FIELDS,
    Attempt,
    Head,
    Run,
    all_attempts,
    is_run_id,
    make_run,
    read_args,
    read_attempt,
    read_data,
    read_head,
)
from shared.scripts.call import Arg
from shared.store import Store
from shared.topics import TopicFilter, matches

PAGE: Final = 250
BYTES_AT_ONCE: Final = 8 * 1024 * 1024
"""Messages are fetched in portions of about this size: a payload may have many MiB."""
SCAN: Final = 100_000
"""How many runs a search looks at, unless told otherwise."""


class Query(msgspec.Struct, frozen=True):
    """Which runs: at most `limit`, found among the newest `scan`."""

    trigger: str | None = None
    state: str | None = None
    topic: TopicFilter | None = None
    limit: int = 100
    scan: int = SCAN


class RunDetails(msgspec.Struct, frozen=True):
    """A run with its message and the attempts that ended, oldest first; Redis keeps the last ten.

    A run that no message made has the arguments of its `main` instead. `origin` is who made it: `message`, `api`, or
    `child` for another run, which is its `parent`; `root` is the first of that line.
    """

    run: Run
    message: Envelope | None
    captures: dict[str, str]
    attempts: list[Attempt]
    args: dict[str, Any] | None = None
    origin: str = "message"
    parent: str | None = None
    root: str | None = None


def search(store: Store, query: Query, looked_at: Callable[[int], None]) -> Iterator[Run]:
    """Runs newest first; `looked_at` is told after each page how many were looked at so far.

    Runs that are placed meanwhile are not shown, runs that are forgotten meanwhile are left out.
    """
    return islice(_matching(store, query, looked_at), query.limit)


def read_runs(store: Store, ids: Sequence[bytes], topic: TopicFilter | None = None) -> Iterator[Run]:
    """The runs with these ids, in their order, without those that are not there."""
    return _with_messages(store, _heads(store, ids), topic)


def show(store: Store, run_id: str) -> RunDetails:
    """All that is known of a run. UserError if there is none with this id."""
    heads = _heads(store, [run_id.encode()]) if is_run_id(run_id) else []
    if not heads:
        hint = "`headrace runs` lists ids; old runs are forgotten"
        raise UserError(f"there is no run {run_id}", hint=hint, run=run_id)
    (head,) = heads
    data, entries = store.commands([("HGET", keys.job(run_id), "data"), ("XRANGE", keys.results(run_id), "-", "+")])
    return make_details(head, data, entries)


def make_details(head: Head, data: bytes | None, entries: Sequence[tuple[bytes, Mapping[bytes, bytes]]]) -> RunDetails:
    """Put together what was read: the job hash, its data, and its stream of results."""
    spec, message = read_data(data)
    recorded = [read_attempt(entry) for entry in entries]
    run = make_run(head, spec, message, recorded[-1] if recorded else None)
    attempts = all_attempts(head, recorded)
    if spec is None:
        return RunDetails(run, message, {}, attempts)
    origin = spec.origin or "message"
    return RunDetails(run, message, spec.captures, attempts, read_args(spec), origin, spec.parent, spec.root)


def _matching(store: Store, query: Query, looked_at: Callable[[int], None]) -> Iterator[Run]:
    looked = 0
    size = min(PAGE, query.limit) if query.state is None and query.topic is None else PAGE
    for ids in _pages(store, keys.runs(query.trigger) if query.trigger else keys.RUNS, size):
        page = ids[: query.scan - looked]
        heads = [head for head in _heads(store, page) if query.state in {None, head.state}]
        yield from _with_messages(store, heads, query.topic)
        looked += len(page)
        looked_at(looked)
        if looked >= query.scan:
            return


def _pages(store: Store, key: str, size: int) -> Iterator[list[bytes]]:
    """Ids by falling score. Two dispatchers may give the same score, so a page begins again at the last one's."""
    top: bytes | str = "+inf"
    known: set[bytes] = set()
    while True:
        reply = store.command("ZREVRANGEBYSCORE", key, top, "-inf", "WITHSCORES", "LIMIT", 0, size + len(known))
        pairs = [pair for pair in zip(reply[::2], reply[1::2], strict=True) if pair[0] not in known]
        if not pairs:
            return
        yield [run_id for run_id, _ in pairs]
        same = known if pairs[-1][1] == top else set()
        top = pairs[-1][1]
        known = same | {run_id for run_id, score in pairs if score == top}


def _heads(store: Store, ids: Sequence[bytes]) -> list[Head]:
    commands: list[tuple[Arg, ...]] = []
    for run_id in ids:
        key = keys.job(run_id.decode())
        commands += (("HMGET", key, *FIELDS), ("HSTRLEN", key, "data"))
    replies = store.commands(commands)
    heads = [read_head(run_id.decode(), replies[2 * i], replies[2 * i + 1]) for i, run_id in enumerate(ids)]
    return [head for head in heads if head is not None]


def _with_messages(store: Store, heads: Sequence[Head], topic: TopicFilter | None) -> Iterator[Run]:
    for portion in _portions(heads):
        commands: list[tuple[Arg, ...]] = []
        for head in portion:
            last = ("XREVRANGE", keys.results(head.id), "+", "-", "COUNT", 1)
            commands += (("HGET", keys.job(head.id), "data"), last)
        replies = store.commands(commands)
        for head, data, entries in zip(portion, replies[::2], replies[1::2], strict=True):
            spec, message = read_data(data)
            if topic is None or (message is not None and matches(topic, message.topic)):
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
