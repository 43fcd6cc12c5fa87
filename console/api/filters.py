"""Query parameters by which runs and dead letters are chosen, as queries."""

from __future__ import annotations

import time
from typing import Annotated, Literal

import msgspec
from litestar.params import Parameter

from shared.dead_list import DeadQuery
from shared.run_query import Query, page_scan, parse_sought
from shared.topics import parse_filter
from shared.when import parse_when

State = Literal[
    "queued", "scheduled", "suspended", "running",
    "filtered", "expired", "succeeded", "failed", "lost", "interrupted", "cancelled",
]  # fmt: skip
Source = Literal["message", "api", "preview", "replay", "redrive", "handler", "alert", "child"]
Reason = Literal["failed", "interrupted", "oversized", "invalid", "unrouted", "poisoned", "unsent", "unreadable"]
LIMIT_MAX = 250

Text = Annotated[str, Parameter(max_length=1000)]
Limit = Annotated[int, Parameter(ge=1, le=LIMIT_MAX, description="At most so many.")]
When = Annotated[str, Parameter(max_length=64, description="ISO 8601, or so long ago: 30min, 2h, 7d.")]
Cursor = Annotated[str, Parameter(max_length=64, description="`next` of the page before.")]


class RunFilter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which runs; what is absent is any. `topic` is a topic filter; `folder` one that the runnable lies in. `args` and
    `result` are a text, or JSON (`{…`, `[…`) that is to be contained. `steps`: also what runs have started. Times are
    ISO 8601, or so long ago: 30min, 2h.
    """

    trigger: str | None = None
    runnable: str | None = None
    folder: str | None = None
    state: list[State] = []
    source: list[Source] = []
    topic: str | None = None
    label: str | None = None
    error: str | None = None
    args: str | None = None
    result: str | None = None
    worker: str | None = None
    user: str | None = None
    since: str | None = None
    until: str | None = None
    steps: bool = False

    @property
    def is_narrowed(self) -> bool:
        """Whether it says anything."""
        return self not in (RunFilter(), RunFilter(steps=True))


class DeadFilter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which dead letters; what is absent is any. `group` is the key of a group."""

    trigger: str | None = None
    reason: list[Reason] = []
    error: str | None = None
    since: str | None = None
    until: str | None = None
    group: str | None = None


def run_query(given: RunFilter, limit: int, scan: int | None = None) -> Query:
    """For one page, unless it is told how many to look at. Raises TopicError, UserError for what cannot be read."""
    query = Query(
        trigger=given.trigger or None,
        runnable=given.runnable or None,
        folder=given.folder or None,
        states=frozenset(given.state),
        sources=frozenset(given.source),
        topic=parse_filter(given.topic) if given.topic else None,
        label=given.label or None,
        error=given.error or None,
        args=parse_sought(given.args) if given.args else None,
        result=parse_sought(given.result) if given.result else None,
        worker=given.worker or None,
        user=given.user or None,
        steps=given.steps,
        since=_moment(given.since),
        until=_moment(given.until),
        limit=limit,
    )
    return msgspec.structs.replace(query, scan=scan or page_scan(query))


def dead_query(given: DeadFilter) -> DeadQuery:
    """Raises UserError for a time that is none."""
    return DeadQuery(
        given.trigger or None,
        frozenset(given.reason),
        given.error or None,
        _moment(given.since),
        _moment(given.until),
        given.group or None,
    )


def _moment(text: str | None) -> int | None:
    return None if not text else parse_when(text, time.time_ns() // 1000)
