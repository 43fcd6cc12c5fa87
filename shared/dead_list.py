"""The dead letters as people see them: list, show, run again."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final, Literal

import msgspec

from shared import keys
from shared.clock import iso_utc
from shared.dead import DeadLetter, decode_letter
from shared.errors import EnvelopeError, UserError
from shared.history import RunDetails, read_runs, show
from shared.run_record import Run, is_run_id, iso_ms
from shared.scripts import operate
from shared.store import Store

PAGE: Final = 200
RETRIES_AT_ONCE: Final = 100


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


class Retried(msgspec.Struct, frozen=True):
    """What came of a wish to run something again. Only `queued` is what was wished for."""

    id: str
    outcome: Literal["queued", "not ended badly", "unknown", "a message"]


def list_dead(store: Store, limit: int, trigger: str | None = None) -> Iterator[Buried]:
    """The newest dead letters, newest first."""
    found = (entry for entry in _all(store) if trigger is None or entry.trigger == trigger)
    return islice(found, limit)


def show_dead(store: Store, dead_id: str) -> RunDetails | DeadLetter:
    """All that is kept of one. UserError if there is none with this id, EnvelopeError if it cannot be read."""
    blob = store.command("HGET", keys.DEAD_LETTERS, dead_id)
    if blob is not None:
        return decode_letter(blob)
    if store.command("ZSCORE", keys.DEAD, dead_id) is None:
        hint = "`headrace dead list` lists ids; `headrace runs show` knows runs that did not end badly"
        raise UserError(f"there is no dead letter {dead_id}", hint=hint, id=dead_id)
    return show(store, dead_id)


def retry(store: Store, ids: Sequence[str]) -> list[Retried]:
    """Queue runs that ended badly again, each under its id and idempotency key; asked twice, it is queued once."""
    now = iso_utc(time.time_ns())
    runs = [dead_id for dead_id in ids if is_run_id(dead_id)]
    outcomes: dict[str, Literal["queued", "not ended badly", "unknown"]] = {}
    for start in range(0, len(runs), RETRIES_AT_ONCE):
        portion = runs[start : start + RETRIES_AT_ONCE]
        replies = store.run_many([operate.retry(run_id, now) for run_id in portion])
        outcomes |= dict(zip(portion, replies, strict=True))
    return [Retried(each, outcomes[each]) if each in outcomes else _no_run(store, each) for each in ids]


def all_ids(store: Store) -> list[str]:
    """The ids of all dead letters, oldest first."""
    return [member.decode() for member in store.command("ZRANGE", keys.DEAD, 0, -1)]


def _no_run(store: Store, dead_id: str) -> Retried:
    known = store.command("ZSCORE", keys.DEAD, dead_id) is not None
    return Retried(dead_id, "a message" if known else "unknown")


def _all(store: Store) -> Iterator[Buried]:
    """Newest first. What is buried while this reads may come twice or, if it is new, not at all."""
    start = 0
    while reply := store.command("ZREVRANGE", keys.DEAD, start, start + PAGE - 1, "WITHSCORES"):
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
