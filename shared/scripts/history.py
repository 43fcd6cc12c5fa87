"""The verbs of history and dead letters: look for runs, put back, drop, forget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec

from shared import keys
from shared.clock import iso_utc
from shared.scripts.call import Arg, Call

_FORGOTTEN: Final[dict[int, Literal["forgotten", "not ended", "unknown"]]] = {
    1: "forgotten",
    0: "not ended",
    -1: "unknown",
}


class Wanted(msgspec.Struct, frozen=True):
    """What a scan looks for; empty is any. `topic` is a Lua pattern, `error` in lower case and in JSON's escapes; with
    `path_start` the runnable begins.
    """

    states: frozenset[str] = frozenset()
    runnable: str = ""
    topic: str = ""
    error: str = ""
    noted: str = ""
    path_start: str = ""
    sources: frozenset[str] = frozenset()
    worker: str = ""
    user: str = ""


class Cursor(msgspec.Struct, frozen=True):
    """Where a scan stands: at a score (epoch µs, or `+inf`), with so many of that score behind it."""

    score: str | bytes = "+inf"
    behind: int = 0


class Portion(msgspec.Struct, frozen=True):
    """What bounds one step of a scan: runs that it looks at, runs that it gives, bytes of those that it gives."""

    look_at: int
    give: int
    size: int


class Scanned(msgspec.Struct, frozen=True):
    """Ids of runs that may fit, newest first, among `looked_at`."""

    ids: list[bytes]
    cursor: Cursor
    looked_at: int
    is_end: bool


def scan_runs(
    key: str,
    wanted: Wanted,
    cursor: Cursor,
    *,
    down_to: str,
    portion: Portion,
    among: Sequence[tuple[bytes, int]] | None = None,
) -> Call[Scanned]:
    """One step of a search through `keys.RUNS` or the runs of a trigger, or `among` these with their scores. Only
    reads.
    """

    def decode(reply: list[Any]) -> Scanned:
        score, behind, looked_at, is_end, *ids = reply
        return Scanned(ids, Cursor(score, behind), looked_at, is_end == 1)

    bounds: list[Arg] = [cursor.score, cursor.behind, down_to, portion.look_at, portion.give]
    sought: list[Arg] = [_words(wanted.states), wanted.runnable, wanted.topic, wanted.error, wanted.noted]
    few: list[Arg] = [part for entry in among or () for part in entry]
    made: list[Arg] = [wanted.path_start, _words(wanted.sources), wanted.worker, wanted.user]
    return Call("scan_runs", [key], [*bounds, *sought, *made, portion.size, *few], decode)


def _words(words: frozenset[str]) -> str:
    return f",{','.join(sorted(words))}," if words else ""


def readmit(dead_id: str, key: str, envelope: bytes, trigger: str, cell: Literal["unrouted", "poisoned"]) -> Call[bool]:
    """Put a message among the dead letters back into the inbox; twice puts it there once."""
    names = [keys.INBOX, keys.DEAD, keys.DEAD_LETTERS]
    return Call("readmit", names, [dead_id, key, envelope, trigger, cell], bool)


def drop_dead(ids: Sequence[str]) -> Call[list[bool]]:
    """Take dead letters off the list; for each whether it was there."""
    return Call("drop_dead", [keys.DEAD, keys.DEAD_LETTERS], ids, lambda reply: [each == 1 for each in reply])


def forget(run_id: str) -> Call[Literal["forgotten", "not ended", "unknown"]]:
    """Forget a run that has ended. May be repeated."""
    registries = [keys.RQ_FINISHED, keys.RQ_FAILED, keys.RQ_CANCELED]
    names = [keys.RUNS, keys.DEAD, keys.DEAD_LETTERS, *registries]
    return Call("forget", names, [run_id], _FORGOTTEN.__getitem__)


def resolve(ids: Sequence[str], now_iso: str, who: str, note: str) -> Call[list[bool]]:
    """Note that these have been dealt with, or with '' for the time that they have not; for each whether it ended
    badly. May be repeated.
    """
    return Call("resolve", [], [now_iso, who, note, *ids], lambda reply: [each == 1 for each in reply])


def expire_dead(keep: int, before_ms: int, step: int) -> Call[Forgotten]:
    """Drop the oldest dead letters, at most `step`."""
    return Call("expire_dead", [keys.DEAD, keys.DEAD_LETTERS], [keep, before_ms, step], read_forgotten)


class Kept(msgspec.Struct, frozen=True):
    """What may be kept of a trigger's runs: so many, and what has not ended before that time. None: no bound."""

    runs_max: int | None = None
    ended_before_us: int | None = None


def prune_trigger(trigger: str, kept: Kept, skip: int, step: int) -> Call[tuple[int, int, bool]]:
    """Forget the oldest ended runs of a trigger that may not be kept: how many, how many were passed over because they
    live or have ended lately, and whether there may be more to do.
    """
    registries = [keys.RQ_FINISHED, keys.RQ_FAILED, keys.RQ_CANCELED]
    names = [keys.runs(trigger), keys.RUNS, keys.DEAD, keys.DEAD_LETTERS, *registries]
    before_us = kept.ended_before_us
    aged: list[Arg] = ["", ""] if before_us is None else [iso_utc(before_us * 1000), before_us]
    args: list[Arg] = ["" if kept.runs_max is None else kept.runs_max, skip, step, *aged]
    return Call("prune_trigger", names, args, lambda reply: (reply[0], reply[1], reply[2] == 1))


class Forgotten(msgspec.Struct, frozen=True):
    """How many, and whether there may be more to do."""

    count: int
    more: bool


def read_forgotten(reply: list[int]) -> Forgotten:
    """The answer of a verb that forgets."""
    return Forgotten(reply[0], reply[1] == 1)
