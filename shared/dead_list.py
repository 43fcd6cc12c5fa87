"""The dead letters as people see them: found by filters, or one with all that is kept. Only reads."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Literal

import msgspec

from shared import keys
from shared.dead import DeadLetter, decode_letter
from shared.errors import EnvelopeError, UserError
from shared.history import RunDetails, read_runs, show
from shared.run_record import Run, is_run_id, iso_ms
from shared.store import Store

PAGE = 200
REASONS = ("failed", "interrupted", "oversized", "invalid", "unrouted", "poisoned", "unsent", "unreadable")


class DeadQuery(msgspec.Struct, frozen=True):
    """Which dead letters; None and empty is any. `error` is a text in the detail, whatever its case.

    Times are epoch milliseconds of when they were buried, `since` inclusive, `until` exclusive.
    """

    trigger: str | None = None
    reasons: frozenset[str] = frozenset()
    error: str | None = None
    since: int | None = None
    until: int | None = None


class Buried(msgspec.Struct, frozen=True):
    """One entry of the list. `reason` is the state of a run, or why a message never became one; `detail` says more.

    `at` is when it was buried, ISO 8601 in UTC. What a letter does not tell is None.
    """

    id: str
    kind: Literal["run", "message"]
    at: str
    reason: str
    trigger: str | None
    runnable: str | None
    topic: str | None
    qos: int | None
    payload_size: int | None
    detail: str


def list_dead(store: Store, query: DeadQuery, limit: int | None = None) -> Iterator[Buried]:
    """Dead letters, newest first; no more than `limit`."""
    return islice((entry for entry in _all(store, query) if _fits(query, entry)), limit)


def show_dead(store: Store, dead_id: str) -> RunDetails | DeadLetter:
    """All that is kept of one. UserError if there is none with this id, EnvelopeError if it cannot be read."""
    blob = store.command("HGET", keys.DEAD_LETTERS, dead_id)
    if blob is not None:
        return decode_letter(blob)
    if store.command("ZSCORE", keys.DEAD, dead_id) is None:
        hint = "`headrace dead list` lists ids; `headrace runs show` knows runs that did not end badly"
        raise UserError(f"there is no dead letter {dead_id}", hint=hint, id=dead_id)
    return show(store, dead_id)


def _fits(query: DeadQuery, entry: Buried) -> bool:
    return (
        query.trigger in {None, entry.trigger}
        and (not query.reasons or entry.reason in query.reasons)
        and (query.error is None or query.error.lower() in entry.detail.lower())
    )


def _all(store: Store, query: DeadQuery) -> Iterator[Buried]:
    """Newest first. What is buried while this reads may come twice or, if it is new, not at all."""
    top = "+inf" if query.until is None else f"({query.until}"
    bottom = "-inf" if query.since is None else str(query.since)
    start = 0
    while reply := store.command("ZREVRANGEBYSCORE", keys.DEAD, top, bottom, "WITHSCORES", "LIMIT", start, PAGE):
        ids = reply[::2]
        times = [iso_ms(int(float(score))) for score in reply[1::2]]
        runs = {run.id: run for run in read_runs(store, [dead_id for dead_id in ids if is_run_id(dead_id.decode())])}
        letters = store.commands([("HGET", keys.DEAD_LETTERS, dead_id) for dead_id in ids])
        for dead_id, at, letter in zip(ids, times, letters, strict=True):
            name = dead_id.decode()
            if name in runs:
                yield _buried_run(runs[name], at)
            elif letter is not None:
                yield _buried_message(name, at, letter)
        start += len(ids)


def _buried_run(run: Run, at: str) -> Buried:
    detail = f"{run.error['name']}: {run.error['message']}" if run.error else ""
    return Buried(run.id, "run", at, run.state, run.trigger, run.runnable, run.topic, run.qos, run.payload_size, detail)


def _buried_message(dead_id: str, at: str, blob: bytes) -> Buried:
    try:
        letter = decode_letter(blob)
    except EnvelopeError as error:
        return Buried(dead_id, "message", at, "unreadable", None, None, None, None, None, error.message)
    return Buried(
        dead_id, "message", at, letter.reason, letter.trigger, None, letter.topic or None, letter.qos, letter.size,
        letter.detail,
    )  # fmt: skip
