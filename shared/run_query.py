"""Which runs a search is for: what Redis can tell by itself, and what is looked at when a run has been read. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec

from shared.envelope import Envelope
from shared.errors import UserError
from shared.run_record import Attempt, Run, read_args
from shared.runs import LIVE, TERMINAL, RunSpec
from shared.scripts.history import Wanted
from shared.topics import TopicFilter, matches

SCAN: Final = 1_000_000
"""How many runs a search looks at, unless told otherwise."""
PAGE_SCAN: Final = 5000
"""How many are looked at for one page: what is not found among them, the next page goes on to look for."""
PAGE_SCAN_VALUES: Final = 1000
"""The same where each has to be read."""
SOURCES: Final = ("message", "api", "preview", "replay", "redrive", "handler", "alert", "child")
"""Who makes runs (`Run.source`). Those of the last one belong to the run that has started them."""

_WITH_ERROR: Final = frozenset({*LIVE, *TERMINAL} - {"succeeded"})
_NO_STEPS: Final = frozenset(SOURCES) - {"child"}
_LUA_LEVELS: Final = {"+": "[^/]*", "#": ".*"}
_BRACKETS_MAX: Final = 100


class Sought(msgspec.Struct, frozen=True):
    """What is looked for in arguments or a result: JSON that they contain, or a text in them, whatever its case."""

    text: str
    part: Any = None
    is_json: bool = False


class Query(msgspec.Struct, frozen=True):
    """Which runs: at most `limit`, found among the newest `scan`; None and empty is any.

    `folder` is one that the runnable lies in, at any depth; its path begins with `path_start`. `error` is a text in
    name, message or stack of the error with which the newest attempt ended, whatever its case. `worker` is the one that
    has started it last, `user` who has asked for a run that no message made. `steps`: also what runs have started,
    unless `sources` say it.
    Times are epoch microseconds of when runs were made (`Run.created_at`), `since` inclusive, `until` exclusive.
    """

    trigger: str | None = None
    runnable: str | None = None
    folder: str | None = None
    path_start: str | None = None
    states: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()
    topic: TopicFilter | None = None
    label: str | None = None
    error: str | None = None
    args: Sought | None = None
    result: Sought | None = None
    worker: str | None = None
    user: str | None = None
    steps: bool = True
    since: int | None = None
    until: int | None = None
    limit: int = 100
    scan: int = SCAN

    @property
    def reads_values(self) -> bool:
        """Whether each run has to be read, with its message, to tell if it fits."""
        return self.args is not None or self.result is not None


class Seen(msgspec.Struct, frozen=True):
    """A run with what it is made of."""

    run: Run
    spec: RunSpec | None
    message: Envelope | None
    last: Attempt | None


def page_scan(query: Query) -> int:
    """How many runs are looked at for one page."""
    return PAGE_SCAN_VALUES if query.reads_values else PAGE_SCAN


def parse_sought(text: str) -> Sought:
    """`{…` and `[…` are JSON, all else is a text. Raises UserError for JSON that is none, or nested without end."""
    if not text.lstrip().startswith(("{", "[")):
        return Sought(text.lower())
    if text.count("[") + text.count("{") > _BRACKETS_MAX:
        raise UserError(f"more than {_BRACKETS_MAX} brackets", hint="look for a smaller part of it")
    try:
        return Sought(text, msgspec.json.decode(text), is_json=True)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise UserError(f"{text[:100]!r} is not JSON: {error}", hint='write {"name": value}, or a text') from error


def wanted_of(query: Query) -> Wanted:
    """What Redis can tell by itself. What it gives is looked at again by `fits`."""
    return Wanted(
        states=query.states or (_WITH_ERROR if query.error else query.states),
        runnable=query.runnable or "",
        topic=_lua_pattern(query.topic) if query.topic else "",
        error=as_in_json(query.error or ""),
        noted=as_in_json(query.label or "", lower=False),
        path_start=_start(query),
        sources=query.sources or (frozenset() if query.steps else _NO_STEPS),
        worker=query.worker or "",
        user=query.user or "",
    )


def fits(query: Query, seen: Seen) -> bool:
    """Whether a run is one of those that are asked for."""
    run = seen.run
    return (
        (not query.states or run.state in query.states)
        and query.runnable in {None, run.runnable}
        and (run.runnable or "").startswith(_start(query))
        and (query.topic is None or (run.topic is not None and matches(query.topic, run.topic)))
        and (query.label is None or query.label in run.labels)
        and (query.error is None or says(run.error, query.error))
        and (query.args is None or _is_in(query.args, _arguments(seen)))
        and (query.result is None or _is_in(query.result, _results(run)))
    )


def says(error: Mapping[str, Any] | None, text: str) -> bool:
    """Whether name, message or stack of an error contain a text, whatever its case."""
    wanted = text.lower()
    return error is not None and any(wanted in str(error[part]).lower() for part in ("name", "message", "stack"))


def as_in_json(text: str, *, lower: bool = True) -> str:
    """A text as it stands inside of a JSON document; letters that Lua can lower are lowered."""
    found = msgspec.json.encode(text).decode()[1:-1]
    return "".join(c.lower() if c.isascii() else c for c in found) if lower else found


def contains(whole: Any, part: Any) -> bool:
    """Whether a JSON value contains another, as Postgres has it (`@>`)."""
    match whole, part:
        case dict(), dict():
            return all(key in whole and contains(whole[key], value) for key, value in part.items())
        case list(), list():
            return all(any(contains(each, wanted) for each in whole) for wanted in part)
        case _:
            return type(whole) is type(part) and bool(whole == part)


def _start(query: Query) -> str:
    return f"{query.folder.strip('/')}/" if query.folder else query.path_start or ""


def _is_in(sought: Sought, values: Iterator[Any]) -> bool:
    if sought.is_json:
        return any(contains(value, sought.part) for value in values)
    return any(sought.text in _text(value).lower() for value in values)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _arguments(seen: Seen) -> Iterator[Any]:
    """All that may be called the arguments of a run: of a message its payload, as JSON and as text, the levels of its
    topic that have names, and what a preprocessor has made of it.
    """
    if seen.message is not None:
        text = seen.message.payload.decode("utf-8", "replace")
        yield text
        with suppress(msgspec.DecodeError, RecursionError):
            yield msgspec.json.decode(text)
    if seen.spec is not None:
        yield seen.spec.captures
        yield read_args(seen.spec)
    if seen.last is not None and seen.last.arguments is not None:
        yield seen.last.arguments


def _results(run: Run) -> Iterator[Any]:
    if run.result is not None:
        yield run.result


def _lua_pattern(topic: TopicFilter) -> str:
    """A pattern that finds at least what the filter matches."""
    levels = [_LUA_LEVELS.get(level) or re.sub(r"([^\w\s]|_)", r"%\1", level, flags=re.ASCII) for level in topic.levels]
    if levels[-1] != _LUA_LEVELS["#"]:
        return f"^{'/'.join(levels)}$"
    return f"^{'/'.join(levels[:-1])}"
