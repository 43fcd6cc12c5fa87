"""Which jobs a list is to show: the filters of Windmill's lists, and the search that finds what they let through."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any, Final, Literal

import msgspec
from litestar import Request

from console.callers import Caller, RunCaller
from console.described import FLAG, TEXT, TIME, Schema, whole_number
from console.errors import bad_request
from console.runs import Found, read_founds
from console.windmill.job_objects import arguments, job_object, result
from shared import keys
from shared.definitions import Script
from shared.deployment import read_all
from shared.history import Query, search
from shared.runs import LIVE, TERMINAL
from shared.store import Store

Of = Literal["all", "completed", "queue"]

PER_PAGE: Final = 100
PER_PAGE_MAX: Final = 1000
LOOKED_AT_MAX: Final = 10_000
"""Runs that a list looks at, from the newest on: whoever wants older ones says before when."""
_PORTION: Final = 50
_STATES: Final[Mapping[Of, tuple[str, ...]]] = {"all": (*LIVE, *TERMINAL), "completed": TERMINAL, "queue": LIVE}
_STATUS: Final = {
    "success": frozenset({"succeeded"}),
    "failure": frozenset({"failed", "lost", "interrupted"}),
    "canceled": frozenset({"cancelled"}),
    "skipped": frozenset({"filtered", "expired"}),
}
_SAME: Final = ("created_by", "worker", "parent_job", "script_hash", "tag", "trigger_kind", "permissioned_as")
_FLAGS: Final = ("is_skipped", "is_flow_step")
_BOUNDS: Final = ("started", "created", "completed")
_SIDES: Final = ("before", "after")
_NOTHING_HAS: Final = ("schedule_path", "concurrency_key")
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_TRUE, _FALSE = frozenset({"true", "1"}), frozenset({"false", "0"})

Test = Callable[[Found, dict[str, Any]], bool]


_NAMED: Final[Mapping[str, Test]] = {
    "has_null_parent": lambda found, _: found.details.parent is None,
    "scheduled_for_before_now": lambda found, _: (
        found.details.due_at is None and found.details.run.state != "suspended"
    ),
}
_WORDS: Final = ("script_path_exact", "script_path_start", "trigger_path", "label", "job_kinds", "args", "result")
_SWITCHES: Final = ("running", "success", "suspended", "resolved", "allow_wildcards", "order_desc")
PARAMETERS: Final[Mapping[str, Schema]] = (
    dict.fromkeys((*_SAME, *_WORDS, *_NOTHING_HAS), TEXT)
    | dict.fromkeys((*_FLAGS, *_NAMED, *_SWITCHES), FLAG)
    | {f"{what}_{side}": TIME for what in _BOUNDS for side in _SIDES}
    | {"status": {"enum": list(_STATUS)}, "per_page": whole_number(1, PER_PAGE_MAX)}
    | {"page": whole_number(1, LOOKED_AT_MAX)}
)
"""What `read_filters` reads."""


class Filters(msgspec.Struct, frozen=True):
    """`query` is what the search looks for, `tests` what is asked of each run that it finds, and of its job object."""

    query: Query
    tests: list[Test]
    per_page: int
    page: int = 1
    oldest_first: bool = False


def read_filters(request: Request[Caller, None, Any], of: Of) -> Filters:
    """From the address. Raises Refusal (400) for what cannot be read; names that nobody knows are passed over."""
    asked = dict(request.query_params.items())
    states = _states(asked, of)
    since, until = _ms(asked, "created_after"), _ms(asked, "created_before")
    query = Query(
        trigger=asked.get("trigger_path"),
        runnable=asked.get("script_path_exact") if not _flag(asked, "allow_wildcards") else None,
        states=states,
        label=asked.get("label") if not _flag(asked, "allow_wildcards") else None,
        since=since,
        until=until,
        limit=LOOKED_AT_MAX,
        scan=LOOKED_AT_MAX,
    )
    per_page = _number(asked, "per_page", PER_PAGE, PER_PAGE_MAX)
    return Filters(
        query,
        list(_tests(asked)),
        per_page,
        _number(asked, "page", 1, LOOKED_AT_MAX),
        _flag(asked, "order_desc") is False,
    )


def find_jobs(store: Store, caller: Caller, filters: Filters, workspace: str) -> list[dict[str, Any]]:
    """Jobs that fit and that the caller may see, newest first if not otherwise, without arguments and results."""
    first = (filters.page - 1) * filters.per_page
    fitting = _fitting(store, caller, filters, workspace)
    if filters.oldest_first:
        fitting = reversed(list(fitting))
    return list(islice(fitting, first, first + filters.per_page))


def count_jobs(store: Store, caller: Caller, filters: Filters, workspace: str) -> int:
    """How many fit, among the newest LOOKED_AT_MAX."""
    return sum(1 for _ in _fitting(store, caller, filters, workspace))


def languages_of(store: Store, founds: list[Found]) -> dict[str, str]:
    """Version → language, of the scripts that these runs are of."""
    versions = {
        version: version
        for each in founds
        if (version := each.details.run.runnable_version) and not each.details.is_flow
    }
    return {version: script.language for version, script in read_all(store, versions, Script).items()}


def _fitting(store: Store, caller: Caller, filters: Filters, workspace: str) -> Iterator[dict[str, Any]]:
    ids = _ids(store, caller, filters.query)
    while portion := list(islice(ids, _PORTION)):
        founds = list(read_founds(store, portion))
        languages = languages_of(store, founds)
        for found in founds:
            language = languages.get(found.details.run.runnable_version or "", "")
            job = job_object(found, workspace, language, with_result=False)
            if found.details.run.state in filters.query.states and all(test(found, job) for test in filters.tests):
                yield job


def _ids(store: Store, caller: Caller, query: Query) -> Iterator[str]:
    """Newest first; for a run, those that it has started, and then itself."""
    if not isinstance(caller, RunCaller):
        yield from (run.id for run in search(store, query, lambda _looked_at: None))
        return
    started = store.command("ZREVRANGE", keys.children(caller.run_id), 0, LOOKED_AT_MAX - 1)
    yield from (run_id.decode() for run_id in started)
    yield caller.run_id


def _states(asked: Mapping[str, str], of: Of) -> frozenset[str]:
    states = frozenset(_STATES[of])
    if (running := _flag(asked, "running")) is not None:
        states &= {"running"} if running else frozenset((*LIVE, *TERMINAL)) - {"running"}
    if (success := _flag(asked, "success")) is not None:
        states &= {"succeeded"} if success else frozenset(TERMINAL) - {"succeeded"}
    if (suspended := _flag(asked, "suspended")) is not None:
        states &= {"suspended"} if suspended else frozenset((*LIVE, *TERMINAL)) - {"suspended"}
    if (status := asked.get("status")) is not None:
        if status not in _STATUS:
            raise bad_request(f"status: {status!r} is none of {', '.join(_STATUS)}")
        states &= _STATUS[status]
    return states or frozenset({"no state at all"})


def _tests(asked: Mapping[str, str]) -> Iterator[Test]:
    wild = _flag(asked, "allow_wildcards") is True
    for name in (*_SAME, "script_path_exact"):
        if (wanted := asked.get(name)) is not None:
            yield _same(name.removesuffix("_exact"), wanted, wild=wild)
    for name in _FLAGS:
        if (flag := _flag(asked, name)) is not None:
            yield _is(name, flag=flag)
    for name, read in (("args", arguments), ("result", result)):
        if (text := asked.get(name)) is not None:
            yield _superset(name, text, read)
    yield from (each for name, each in _NAMED.items() if _flag(asked, name))
    yield from (_nothing for name in _NOTHING_HAS if name in asked)
    yield from _of_runs(asked, wild=wild)
    yield from _resolved(asked)
    yield from _times(asked)


def _resolved(asked: Mapping[str, str]) -> Iterator[Test]:
    if (wanted := _flag(asked, "resolved")) is not None:
        yield lambda found, _: bool(found.resolved_at) is wanted


def _of_runs(asked: Mapping[str, str], *, wild: bool) -> Iterator[Test]:
    start, kinds, label = asked.get("script_path_start"), asked.get("job_kinds"), asked.get("label")
    if start:
        yield lambda found, _: (found.details.run.runnable or "").startswith(start)
    if kinds:
        yield lambda _, job: job["job_kind"] in kinds.split(",")
    if label and wild:
        yield lambda found, _: any(fnmatchcase(each, label) for each in found.details.run.labels)


def _times(asked: Mapping[str, str]) -> Iterator[Test]:
    for what in _BOUNDS:
        for side in _SIDES:
            bound = _ms(asked, f"{what}_{side}")
            if bound is not None:
                yield _time(f"{what}_at", bound, before=side == "before")


def _time(key: str, bound: int, *, before: bool) -> Test:
    def test(_: Found, job: dict[str, Any]) -> bool:
        at = _epoch_ms(job[key]) if job.get(key) else None
        return at is not None and (at <= bound if before else at >= bound)

    return test


def _is(name: str, *, flag: bool) -> Test:
    return lambda _, job: job.get(name, False) is flag


def _nothing(_found: Found, _job: dict[str, Any]) -> bool:
    return False


def _same(name: str, wanted: str, *, wild: bool) -> Test:
    def test(_: Found, job: dict[str, Any]) -> bool:
        value = str(job.get(name) or "")
        return fnmatchcase(value, wanted) if wild else value in wanted.split(",")

    return test


def _superset(name: str, text: str, read: Callable[[Found], Any]) -> Test:
    try:
        wanted = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise bad_request(f"{name}: not JSON: {error}") from error
    return lambda found, _: not (name == "result" and found.is_live) and contains(read(found), wanted)


def contains(whole: Any, part: Any) -> bool:
    """Whether a JSON value contains another, as Postgres has it (`@>`)."""
    match whole, part:
        case dict(), dict():
            return all(key in whole and contains(whole[key], value) for key, value in part.items())
        case list(), list():
            return all(any(contains(each, wanted) for each in whole) for wanted in part)
        case _:
            return type(whole) is type(part) and bool(whole == part)


def _flag(asked: Mapping[str, str], name: str) -> bool | None:
    value = asked.get(name)
    if value is None:
        return None
    if value.lower() in _TRUE | _FALSE:
        return value.lower() in _TRUE
    raise bad_request(f"{name}: {value!r} is neither true nor false")


def _number(asked: Mapping[str, str], name: str, default: int, most: int) -> int:
    """Within 1 and `most`, whatever is asked for."""
    value = asked.get(name)
    if value is None:
        return default
    if not _WHOLE.fullmatch(value):
        raise bad_request(f"{name}: {value!r}, expected a whole number")
    return min(max(int(value), 1), most)


def _ms(asked: Mapping[str, str], name: str) -> int | None:
    value = asked.get(name)
    if value is None:
        return None
    try:
        return _epoch_ms(value.replace(" ", "+"))  # a plus that was not encoded comes as a space
    except (ValueError, OverflowError) as error:
        raise bad_request(f"{name}: {value!r} is no time: write 2026-01-02T03:04:05Z") from error


def _epoch_ms(text: str) -> int:
    at = datetime.fromisoformat(text)
    return math.floor((at if at.tzinfo else at.astimezone()).timestamp() * 1000)
