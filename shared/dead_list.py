"""The dead letters as people see them: found by filters, or one with all that is kept. Only reads."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from itertools import islice
from typing import Literal

import msgspec

from shared import keys
from shared.dead import DeadLetter, decode_letter
from shared.errors import EnvelopeError, NotThere, UserError
from shared.history import RunDetails, read_runs, show
from shared.run_record import Run, is_run_id, iso_ms
from shared.store import Store

PAGE = 200
SCAN = 10_000
REASONS = ("failed", "interrupted", "oversized", "invalid", "unrouted", "poisoned", "unsent", "unreadable")


_SAID = 300
_VARYING = re.compile(r"\b[0-9a-fA-F-]*[0-9][0-9a-fA-F-]*\b")
_CURSOR = re.compile(r"(\d{1,15})_(\d{1,9})")


class DeadQuery(msgspec.Struct, frozen=True):
    """Which dead letters; None and empty is any. `error` is a text in the detail, whatever its case, `group` the key of
    a group.

    Times are epoch microseconds of when they were buried, `since` inclusive, `until` exclusive.
    """

    trigger: str | None = None
    reasons: frozenset[str] = frozenset()
    error: str | None = None
    since: int | None = None
    until: int | None = None
    group: str | None = None


class _Place(msgspec.Struct, frozen=True):
    """How far a page has come: at this score (epoch ms), with so many of that score behind it."""

    score: int
    behind: int


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


class DeadPage(msgspec.Struct, frozen=True):
    """Dead letters, newest first, and the cursor of the page after them; None where there are no more."""

    letters: list[Buried]
    next: str | None


class DeadGroup(msgspec.Struct, frozen=True):
    """Dead letters that died of the same. `detail` and `example` are those of the newest; `key` names the group."""

    key: str
    count: int
    reason: str
    trigger: str | None
    runnable: str | None
    detail: str
    newest_at: str
    oldest_at: str
    example: str


class DeadGroups(msgspec.Struct, frozen=True):
    """The groups, the largest first. `is_all` False: there are older letters that were not looked at."""

    groups: list[DeadGroup]
    is_all: bool


def list_dead(store: Store, query: DeadQuery, limit: int | None = None) -> Iterator[Buried]:
    """Dead letters, newest first; no more than `limit`."""
    return islice((entry for _, entry in _all(store, query) if entry is not None and _fits(query, entry)), limit)


def dead_page(store: Store, query: DeadQuery, limit: int, cursor: str = "", scan: int = SCAN) -> DeadPage:
    """At most so many, newest first, found among the newest `scan` from where another page ended.

    Raises UserError for a cursor that is none.
    """
    found: list[Buried] = []
    at = before = _read_cursor(cursor) if cursor else None
    for looked, (score, entry) in enumerate(_all(store, query, before), 1):
        at = _Place(score, 1 if at is None or at.score != score else at.behind + 1)
        if entry is not None and _fits(query, entry):
            found.append(entry)
        if len(found) == limit or looked == scan:
            return DeadPage(found, f"{at.score}_{at.behind}")
    return DeadPage(found, None)


def dead_groups(store: Store, query: DeadQuery, scan: int = SCAN) -> DeadGroups:
    """The newest `scan` dead letters grouped by what went wrong where, the largest group first."""
    groups: dict[str, DeadGroup] = {}
    looked = 0
    for _, entry in islice(_all(store, query), scan):
        looked += 1
        if entry is None or not _fits(query, entry):
            continue
        key = group_of(entry)
        known = groups.get(key)
        if known is None:
            groups[key] = DeadGroup(
                key, 1, entry.reason, entry.trigger, entry.runnable, entry.detail, entry.at, entry.at, entry.id
            )
        else:
            groups[key] = msgspec.structs.replace(known, count=known.count + 1, oldest_at=entry.at)
    return DeadGroups(sorted(groups.values(), key=lambda group: -group.count), is_all=looked < scan)


def group_of(entry: Buried) -> str:
    """The same for letters that died of the same: numbers and ids in the detail do not matter."""
    said = _VARYING.sub("#", entry.detail[:_SAID])
    parts = (entry.reason, entry.trigger or "", entry.runnable or "", said)
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()


def show_dead(store: Store, dead_id: str) -> RunDetails | DeadLetter:
    """All that is kept of one. NotThere if there is none with this id, EnvelopeError if it cannot be read."""
    blob = store.command("HGET", keys.DEAD_LETTERS, dead_id)
    if blob is not None:
        return decode_letter(blob)
    if store.command("ZSCORE", keys.DEAD, dead_id) is None:
        hint = "`headrace dead list` lists ids; `headrace runs show` knows runs that did not end badly"
        raise NotThere(f"there is no dead letter {dead_id}", hint=hint, id=dead_id)
    return show(store, dead_id)


def _fits(query: DeadQuery, entry: Buried) -> bool:
    return (
        query.trigger in {None, entry.trigger}
        and (not query.reasons or entry.reason in query.reasons)
        and (query.error is None or query.error.lower() in entry.detail.lower())
        and query.group in {None, group_of(entry) if query.group else None}
    )


def _all(store: Store, query: DeadQuery, after: _Place | None = None) -> Iterator[tuple[int, Buried | None]]:
    """With their scores, newest first; None for one whose record is gone. What is buried while this reads may come
    twice or, if it is new, not at all.
    """
    top = "+inf" if query.until is None else f"({query.until / 1000:.3f}"
    bottom = "-inf" if query.since is None else f"{query.since / 1000:.3f}"
    top, start = (top, 0) if after is None else (str(after.score), after.behind)
    while reply := store.command("ZREVRANGEBYSCORE", keys.DEAD, top, bottom, "WITHSCORES", "LIMIT", start, PAGE):
        ids = reply[::2]
        scores = [int(float(score)) for score in reply[1::2]]
        runs = {run.id: run for run in read_runs(store, [dead_id for dead_id in ids if is_run_id(dead_id.decode())])}
        letters = store.commands([("HGET", keys.DEAD_LETTERS, dead_id) for dead_id in ids])
        for dead_id, score, letter in zip(ids, scores, letters, strict=True):
            name, at = dead_id.decode(), iso_ms(score)
            if name in runs:
                yield score, _buried_run(runs[name], at)
            else:
                yield score, None if letter is None else _buried_message(name, at, letter)
        start += len(ids)


def _read_cursor(text: str) -> _Place:
    if (found := _CURSOR.fullmatch(text)) is None:
        raise UserError(f"{text[:100]!r} is no cursor", hint="take the one of the page before, or none")
    return _Place(int(found[1]), int(found[2]))


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
