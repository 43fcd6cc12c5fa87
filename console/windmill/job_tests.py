"""What the filters of Windmill's lists ask of each job."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from console.described import FLAG, TEXT, TIME, Schema, whole_number
from console.runs import Found
from console.windmill.asked import flag_in, json_in, number_in, time_in, words_in
from console.windmill.identity import username_of
from console.windmill.job_objects import arguments, result
from shared.run_query import contains
from shared.when import epoch_us

Test = Callable[[Found, dict[str, Any]], bool]

_SAME: Final = {
    "created_by": "created_by", "worker": "worker", "parent_job": "parent_job", "script_hash": "script_hash",
    "tag": "tag", "tags": "tag", "trigger_kind": "trigger_kind", "trigger_path": "trigger",
    "permissioned_as": "permissioned_as", "script_path_exact": "script_path", "job_kinds": "job_kind",
}  # fmt: skip
"""Filters by the field of a job that has to have one of their texts."""
_FLAGS: Final = ("is_skipped", "is_flow_step")
_BOUNDS: Final = ("started", "completed")
_CREATED: Final = ("created_before", "created_after")
_VALUES: Final[Mapping[str, Callable[[Found], Any]]] = {"args": arguments, "result": result}
_NAMED: Final[Mapping[str, Test]] = {
    "has_null_parent": lambda found, _: found.details.parent is None,
    "scheduled_for_before_now": lambda found, _: (
        found.details.due_at is None and found.details.run.state != "suspended"
    ),
}
_NOTHING_HAS: Final = ("schedule_path", "concurrency_key")
_ALL_HAVE: Final = ("all_workspaces", "is_not_schedule", "excludes_entrypoint_override")
"""Flags about what there is not: other workspaces, schedules, another entry point than `main`."""
_BROAD: Final = (
    "id",
    "script_path",
    "created_by",
    "trigger",
    "worker",
    "tag",
    "parent_job",
    "canceled_by",
    "canceled_reason",
)
LONGEST_AGO_S: Final = 10**10
KNOWN: Final[Mapping[str, Schema]] = (
    dict.fromkeys((*_SAME, *_VALUES, *_NOTHING_HAS, "script_path_start", "label", "broad_filter"), TEXT)
    | dict.fromkeys((*_FLAGS, *_NAMED, *_ALL_HAVE, "allow_wildcards", "resolved"), FLAG)
    | dict.fromkeys((*_CREATED, *(f"{what}_{side}" for what in _BOUNDS for side in ("before", "after"))), TIME)
    | {"completed_after_s_ago": whole_number(1, LONGEST_AGO_S)}
)
"""The names of all of them, and what they are."""


def tests_of(asked: Mapping[str, str]) -> Iterator[Test]:
    """What is asked for. Raises Refusal (400) for what cannot be read."""
    wild = flag_in(asked, "allow_wildcards") is True
    yield from (_same(asked, name, field, wild=wild) for name, field in _SAME.items() if name in asked)
    yield from _labelled(asked, wild=wild)
    yield from _flagged(asked)
    for name, read in _VALUES.items():
        if (wanted := json_in(asked, name)) is not None:
            yield _superset(name, wanted[0], read)
    if start := words_in(asked, "script_path_start"):
        starts = tuple(start.texts)
        yield lambda found, _: (found.details.run.runnable or "").startswith(starts) is not start.negated
    if text := asked.get("broad_filter", "").lower():
        yield lambda _, job: text in _said(job)
    yield from _times(asked)
    yield from _created(asked)


def _same(asked: Mapping[str, str], name: str, field: str, *, wild: bool) -> Test:
    words = words_in(asked, name)
    if words is None:
        return lambda _found, _job: True
    if field != "created_by":
        return lambda _, job: words.allow(str(job.get(field) or ""), wild=wild)
    every = all if words.negated else any  # somebody is known by the name of his token, and as its user
    return lambda _, job: every(words.allow(who, wild=wild) for who in (job[field], username_of(job[field])))


def _labelled(asked: Mapping[str, str], *, wild: bool) -> Iterator[Test]:
    if (words := words_in(asked, "label")) is None:
        return
    any_of = words if not words.negated else type(words)(words.texts)

    def test(found: Found, _: dict[str, Any]) -> bool:
        return any(any_of.allow(each, wild=wild) for each in found.details.run.labels) is not words.negated

    yield test


def _flagged(asked: Mapping[str, str]) -> Iterator[Test]:
    for name in _FLAGS:
        if (flag := flag_in(asked, name)) is not None:
            yield _is(name, flag=flag)
    yield from (each for name, each in _NAMED.items() if flag_in(asked, name))
    for name in _ALL_HAVE:
        flag_in(asked, name)
    if any(name in asked for name in _NOTHING_HAS):
        yield lambda _found, _job: False
    if (resolved := flag_in(asked, "resolved")) is not None:
        yield lambda found, _: bool(found.resolved_at) is resolved


def _times(asked: Mapping[str, str]) -> Iterator[Test]:
    for what in _BOUNDS:
        if (before := time_in(asked, f"{what}_before")) is not None:
            yield _time(f"{what}_at", None, before)
        if (after := time_in(asked, f"{what}_after")) is not None:
            yield _time(f"{what}_at", after, None)
    if "completed_after_s_ago" in asked:
        ago_s = number_in(asked, "completed_after_s_ago", 0, LONGEST_AGO_S)
        yield _time("completed_at", time.time_ns() // 1000 - ago_s * 1_000_000, None)


def _created(asked: Mapping[str, str]) -> Iterator[Test]:
    """`…_queue` is meant instead of the other for what has not ended."""
    for name in _CREATED:
        ended = time_in(asked, name)
        queued = time_in(asked, f"{name}_queue")
        if ended is not None or queued is not None:
            bounds = (ended, queued if queued is not None else ended)
            yield _made(bounds, before=name == "created_before")


def _made(bounds: tuple[int | None, int | None], *, before: bool) -> Test:
    def test(found: Found, job: dict[str, Any]) -> bool:
        bound = bounds[found.is_live]
        return _time("created_at", None if before else bound, bound if before else None)(found, job)

    return test


def _time(key: str, low: int | None, high: int | None) -> Test:
    """Within these bounds (epoch µs), both included, as Windmill has it."""

    def test(_: Found, job: dict[str, Any]) -> bool:
        if low is None and high is None:
            return True
        at = epoch_us(datetime.fromisoformat(job[key])) if job.get(key) else None
        return at is not None and (low is None or at >= low) and (high is None or at <= high)

    return test


def _is(name: str, *, flag: bool) -> Test:
    return lambda _, job: job.get(name, False) is flag


def _superset(name: str, wanted: Any, read: Callable[[Found], Any]) -> Test:
    return lambda found, _: not (name == "result" and found.is_live) and contains(read(found), wanted)


def _said(job: Mapping[str, Any]) -> str:
    return "\n".join([*(str(job.get(name) or "") for name in _BROAD), *job.get("labels", [])]).lower()
