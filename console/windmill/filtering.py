"""Which jobs a list is to show, and the search that finds them: the filters of Windmill's lists."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final, Literal

import msgspec
from litestar import Request

from console.callers import Caller, RunCaller
from console.described import FLAG, TIME, Schema, whole_number
from console.errors import bad_request
from console.runs import Found, read_founds
from console.windmill.asked import flag_in, number_in, time_in, words_in
from console.windmill.job_objects import job_object
from console.windmill.job_tests import KNOWN, Test, tests_of
from shared import keys
from shared.definitions import Script
from shared.deployment import read_all
from shared.history import candidates
from shared.run_query import Query
from shared.runs import LIVE, TERMINAL
from shared.store import Store

Of = Literal["all", "completed", "queue"]

PER_PAGE: Final = 100
PER_PAGE_MAX: Final = 1000
READ_MAX: Final = 20_000
"""Runs that are read for one list, beside those that Redis can tell do not fit. A list that would need more is refused:
it is never cut in silence.
"""
_PORTION: Final = 50
_YEAR_2100_S: Final = 4_102_444_800
"""What has ended stands in RQ's registries as many seconds later (shared/scripts/_lib.lua)."""
_STATES: Final[Mapping[Of, tuple[str, ...]]] = {"all": (*LIVE, *TERMINAL), "completed": TERMINAL, "queue": LIVE}
_STATUS: Final = {
    "success": frozenset({"succeeded"}),
    "failure": frozenset({"failed", "lost", "interrupted"}),
    "canceled": frozenset({"cancelled"}),
    "skipped": frozenset({"filtered", "expired"}),
}
_OF_QUEUED: Final = ("created_before_queue", "created_after_queue")
PARAMETERS: Final[Mapping[str, Schema]] = (
    dict(KNOWN)
    | dict.fromkeys(_OF_QUEUED, TIME)
    | dict.fromkeys(("order_desc", "running", "success", "suspended"), FLAG)
    | {"status": {"enum": list(_STATUS)}, "page": whole_number(1, READ_MAX), "per_page": whole_number(1, PER_PAGE_MAX)}
)
"""What `read_filters` reads."""


class Filters(msgspec.Struct, frozen=True):
    """`query` is what Redis looks for, `tests` what is asked of each run that it finds, and of its job object."""

    query: Query
    tests: list[Test]
    per_page: int
    page: int = 1
    oldest_first: bool = False


def read_filters(request: Request[Caller, None, Any], of: Of) -> Filters:
    """From the address. Raises Refusal (400) for what cannot be read, and for a name that is no filter."""
    asked = dict(request.query_params.items())
    if unknown := sorted(asked.keys() - PARAMETERS.keys()):
        raise bad_request(f"{unknown[0]}: there is no such filter")
    return Filters(
        _query(asked, of),
        list(tests_of(asked)),
        number_in(asked, "per_page", PER_PAGE, PER_PAGE_MAX),
        number_in(asked, "page", 1, READ_MAX),
        flag_in(asked, "order_desc") is False,
    )


def find_jobs(store: Store, caller: Caller, filters: Filters, workspace: str) -> list[dict[str, Any]]:
    """Jobs that fit and that the caller may see, newest first if not otherwise, without arguments and results.

    Raises Refusal (400) where more than READ_MAX would have to be read.
    """
    first = (filters.page - 1) * filters.per_page
    fitting = _fitting(store, caller, filters, workspace)
    if filters.oldest_first:
        fitting = reversed(list(fitting))
    return list(islice(fitting, first, first + filters.per_page))


def count_ended(store: Store, ago_s: int | None, *, success: bool | None) -> int:
    """How many runs have ended, in the last so many seconds, well or badly: by RQ's registries, none is read."""
    badly = (keys.RQ_FAILED, keys.RQ_CANCELED)
    registries = {None: (keys.RQ_FINISHED, *badly), True: (keys.RQ_FINISHED,), False: badly}[success]
    since = "-inf" if ago_s is None else _YEAR_2100_S + time.time_ns() / 1e9 - ago_s
    return sum(store.commands([("ZCOUNT", each, since, "+inf") for each in registries]))


def count_jobs(store: Store, caller: Caller, filters: Filters, workspace: str) -> int:
    """How many fit. Raises Refusal (400) where more than READ_MAX would have to be read."""
    return sum(1 for _ in _fitting(store, caller, filters, workspace))


def languages_of(store: Store, founds: list[Found]) -> dict[str, str]:
    """Version → language, of the scripts that these runs are of."""
    versions = {
        version: version
        for each in founds
        if (version := each.details.run.runnable_version) and not each.details.is_flow
    }
    return {version: script.language for version, script in read_all(store, versions, Script).items()}


def _query(asked: Mapping[str, str], of: Of) -> Query:
    """What Redis can rule out; the tests look at all of it again."""
    is_plain = flag_in(asked, "allow_wildcards") is not True
    by_queue = any(name in asked for name in _OF_QUEUED)
    until = None if by_queue else time_in(asked, "created_before")

    def one(name: str, *, is_plain: bool = is_plain) -> str | None:
        words = words_in(asked, name)
        return words.only if words is not None and is_plain else None

    return Query(
        trigger=one("trigger_path"),
        runnable=one("script_path_exact"),
        path_start=one("script_path_start", is_plain=True),
        states=_states(asked, of),
        label=one("label"),
        worker=one("worker"),
        since=None if by_queue else time_in(asked, "created_after"),
        until=None if until is None else until + 1,
    )


def _fitting(store: Store, caller: Caller, filters: Filters, workspace: str) -> Iterator[dict[str, Any]]:
    ids, read = _ids(store, caller, filters.query), 0
    while portion := list(islice(ids, _PORTION)):
        founds = list(read_founds(store, portion))
        read += len(founds)
        languages = languages_of(store, founds)
        for found in founds:
            language = languages.get(found.details.run.runnable_version or "", "")
            job = job_object(found, workspace, language, with_result=False)
            if found.details.run.state in filters.query.states and all(test(found, job) for test in filters.tests):
                yield job
        if read >= READ_MAX:
            back_to = founds[-1].details.run.created_at if founds else "the beginning"
            raise bad_request(f"{read} runs back to {back_to} were read: narrow it with created_before, created_after")


def _ids(store: Store, caller: Caller, query: Query) -> Iterator[str]:
    """Newest first; for a run, those that it has started, and then itself."""
    if not isinstance(caller, RunCaller):
        yield from candidates(store, query)
        return
    started = store.command("ZREVRANGE", keys.children(caller.run_id), 0, READ_MAX - 1)
    yield from (run_id.decode() for run_id in started)
    yield caller.run_id


def _states(asked: Mapping[str, str], of: Of) -> frozenset[str]:
    states = frozenset(_STATES[of])
    if (running := flag_in(asked, "running")) is not None:
        states &= {"running"} if running else frozenset((*LIVE, *TERMINAL)) - {"running"}
    if (success := flag_in(asked, "success")) is not None:
        states &= {"succeeded"} if success else frozenset(TERMINAL) - {"succeeded"}
    if (suspended := flag_in(asked, "suspended")) is not None:
        states &= {"suspended"} if suspended else frozenset((*LIVE, *TERMINAL)) - {"suspended"}
    if (status := asked.get("status")) is not None:
        if status not in _STATUS:
            raise bad_request(f"status: {status!r} is none of {', '.join(_STATUS)}")
        states &= _STATUS[status]
    return states or frozenset({"no state at all"})
