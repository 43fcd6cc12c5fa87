"""Runs that wait because their trigger was suspended: what becomes of them is said by a person, for some or for all.

They are dealt with in small steps, oldest first, so that Redis never stands still; each step is one verb, and whoever
is interrupted between two of them only has to ask again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence, Sized
from typing import Final

import msgspec

from shared import keys
from shared.again import Version, latest
from shared.clock import iso_utc
from shared.errors import EnvelopeError, UserError
from shared.runs import decode_job, encode_job
from shared.scripts import suspended as verbs
from shared.scripts.suspended import Release
from shared.store import Store

AT_ONCE: Final = 200

_Stepped = tuple[list[str], list[bool], dict[str, str]]
"""Ids that were asked for, for each whether it was waiting, and why others were not asked for."""
_Step = Callable[[Sequence[str]], _Stepped]


class Settled(msgspec.Struct, frozen=True):
    """What came of it: how many runs were dealt with, ids that do not wait (any more), and why others stay (by id)."""

    done: int
    not_waiting: list[str]
    refused: dict[str, str]


def count(store: Store, trigger: str) -> int:
    """How many runs of this trigger wait."""
    found: int = store.command("ZCARD", keys.suspended(trigger))
    return found


def resume(store: Store, trigger: str, ids: Sequence[str] | None, latest_timeout_s: float | None) -> Settled:
    """Queue these runs of a trigger, or (None) all that wait as it begins, in the order of their messages.

    `latest_timeout_s`: with the version of the runnable that is deployed now, and so many seconds where that does not
    say; None: with the version that the message was placed for.
    """
    known: dict[tuple[str, bool], Version] = {}

    def step(portion: Sequence[str]) -> _Stepped:
        releases, refused = _releases(store, portion, latest_timeout_s, known)
        done = store.run(verbs.resume(trigger, releases, iso_utc(time.time_ns()))) if releases else []
        return [release.id for release in releases], done, refused

    return _in_steps(store, trigger, ids, step)


def discard(store: Store, trigger: str, ids: Sequence[str] | None, who: str, reason: str) -> Settled:
    """Cancel these runs of a trigger, or (None) all that wait as it begins."""

    def step(portion: Sequence[str]) -> _Stepped:
        now_ns = time.time_ns()
        call = verbs.discard(trigger, portion, iso_utc(now_ns), now_ns // 1_000_000, who, reason)
        return list(portion), store.run(call), {}

    return _in_steps(store, trigger, ids, step)


def _in_steps(store: Store, trigger: str, ids: Sequence[str] | None, step: _Step) -> Settled:
    done, not_waiting, refused = 0, list[str](), dict[str, str]()
    for portion in _given(ids) if ids is not None else _waiting(store, trigger, refused):
        asked, answers, against = step(portion)
        done += sum(answers)
        not_waiting += [each for each, answer in zip(asked, answers, strict=True) if not answer]
        refused |= against
    return Settled(done, not_waiting, refused)


def _given(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), AT_ONCE):
        yield ids[start : start + AT_ONCE]


def _waiting(store: Store, trigger: str, staying: Sized) -> Iterator[Sequence[str]]:
    """As many as wait now, oldest first: what a step has dealt with is gone from the set, but for those `staying`."""
    left = count(store, trigger)
    while left > 0:
        first = len(staying)
        found = store.command("ZRANGE", keys.suspended(trigger), first, first + min(AT_ONCE, left) - 1)
        if not found:
            return
        yield [each.decode() for each in found]
        left -= len(found)


def _releases(
    store: Store, ids: Sequence[str], latest_timeout_s: float | None, known: dict[tuple[str, bool], Version]
) -> tuple[list[Release], dict[str, str]]:
    """How to release each, and why some cannot be."""
    if latest_timeout_s is None:
        return [Release(each) for each in ids], {}
    releases: list[Release] = []
    refused: dict[str, str] = {}
    for run_id, data in zip(ids, store.commands([("HGET", keys.job(each), "data") for each in ids]), strict=True):
        try:
            spec = decode_job(data or b"")
            name = spec.runnable, spec.is_flow
            if name not in known:
                known[name] = latest(store, spec.runnable, latest_timeout_s, is_flow=spec.is_flow)
        except (EnvelopeError, UserError) as error:
            refused[run_id] = error.message
        else:
            new = msgspec.structs.replace(spec, runnable_version=known[name].version)
            releases.append(Release(run_id, encode_job(new), known[name].timeout_s))
    return releases, refused
