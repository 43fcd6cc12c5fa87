"""Dead letters: found, grouped by what went wrong, looked at, run again, dropped."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Final

import msgspec
from litestar import Router, delete, get, post

from console.api.filters import Cursor, DeadFilter, Limit, Reason, Text, When, dead_query
from console.auditing import Note
from console.blocking import Blocking
from console.errors import conflict, not_found, unprocessable
from console.needs import needs
from shared.config import Settings
from shared.dead_document import letter_document
from shared.dead_list import DeadGroups, DeadPage, dead_groups, dead_page, show_dead
from shared.dead_redrive import Retried, drop, retry
from shared.errors import EnvelopeError
from shared.history import RunDetails
from shared.run_page import document
from shared.store import Store

AT_ONCE: Final = 1000


class Retry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`latest`: runs take the version that is deployed now, not that of then."""

    latest: bool = False


class Choice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which dead letters: these ids, or those that a filter finds (an empty one finds all). One of both."""

    ids: Annotated[list[str], msgspec.Meta(max_length=AT_ONCE)] | None = None
    filter: DeadFilter | None = None


class RetryChoice(Choice, frozen=True, forbid_unknown_fields=True):
    """The same; `latest`: runs take the version that is deployed now, not that of then."""

    latest: bool = False


class Redriven(msgspec.Struct, frozen=True):
    """How many came to what, and what stood against the others; `more`: there are others, ask again."""

    outcomes: dict[str, int]
    refused: list[Retried]
    more: bool


class Dropped(msgspec.Struct, frozen=True):
    """How many were taken off the list; `more`: there are others, ask again."""

    dropped: int
    more: bool


@get("/dead", opt=needs("read"))
async def list_dead(
    work: Blocking,
    trigger: Text = "",
    reason: list[Reason] | None = None,
    error: Text = "",
    since: When = "",
    until: When = "",
    group: Text = "",
    limit: Limit = 50,
    cursor: Cursor = "",
) -> DeadPage:
    """Dead letters, newest first, page by page."""
    query = dead_query(DeadFilter(trigger, reason or [], error, since, until, group))
    return await work(dead_page, query, limit, cursor)


@get("/dead/groups", opt=needs("read"))
async def group_dead(
    work: Blocking,
    trigger: Text = "",
    reason: list[Reason] | None = None,
    error: Text = "",
    since: When = "",
    until: When = "",
) -> DeadGroups:
    """The newest dead letters, grouped by what went wrong where."""
    return await work(dead_groups, dead_query(DeadFilter(trigger, reason or [], error, since, until)))


@get("/dead/{dead_id:str}", opt=needs("read"))
async def get_dead(dead_id: str, work: Blocking) -> dict[str, Any]:
    """All that is kept of one: a run, or a message that never became one or could not be published."""
    try:
        found = await work(show_dead, dead_id)
    except EnvelopeError as error:
        return {"kind": "message", "id": dead_id, "reason": "unreadable", "detail": error.message}
    if isinstance(found, RunDetails):
        return {"kind": "run", **document(found)}
    return letter_document(dead_id, found)


@post("/dead/{dead_id:str}/retry", opt=needs("operate"), status_code=200)
async def retry_one(dead_id: str, data: Retry, work: Blocking, settings: Settings, note: Note) -> Retried:
    """Run it again under the same id and idempotency key, or route or publish the message again.

    409 where that cannot be done.
    """
    timeout_s = settings.worker.default_timeout_s if data.latest else None
    (outcome,) = await work(retry, [dead_id], latest_timeout_s=timeout_s)
    if outcome.outcome == "unknown":
        raise not_found(f"there is no dead letter {dead_id}")
    if not outcome.is_done:
        raise conflict(outcome.why or f"{dead_id} did not end badly, or was queued again before")
    note.tell("retry", dead_id, after={"outcome": outcome.outcome, "latest": data.latest})
    return outcome


@delete("/dead/{dead_id:str}", opt=needs("operate"), status_code=204)
async def drop_one(dead_id: str, work: Blocking, note: Note) -> None:
    """Take it off the list for good."""
    if not (await work(drop, [dead_id]))[0]:
        raise not_found(f"there is no dead letter {dead_id}")
    note.tell("drop dead letter", dead_id)


@post("/dead/retry", opt=needs("operate"), status_code=200)
async def retry_many(data: RetryChoice, work: Blocking, settings: Settings, note: Note) -> Redriven:
    """Run dead letters again, the oldest first, at most a thousand at a time."""
    timeout_s = settings.worker.default_timeout_s if data.latest else None

    def choose_and_retry(store: Store) -> tuple[list[Retried], bool]:
        ids, more = _chosen(store, data)
        return retry(store, ids, latest_timeout_s=timeout_s), more

    outcomes, more = await work(choose_and_retry)
    counts = dict(Counter(each.outcome for each in outcomes))
    note.tell("retry dead letters", before=data, after=counts)
    return Redriven({str(name): count for name, count in counts.items()}, [e for e in outcomes if not e.is_done], more)


@post("/dead/drop", opt=needs("operate"), status_code=200)
async def drop_many(data: Choice, work: Blocking, note: Note) -> Dropped:
    """Take dead letters off the list for good, at most a thousand at a time."""

    def choose_and_drop(store: Store) -> tuple[list[bool], bool]:
        ids, more = _chosen(store, data)
        return drop(store, ids), more

    dropped, more = await work(choose_and_drop)
    note.tell("drop dead letters", before=data, after={"dropped": sum(dropped)})
    return Dropped(sum(dropped), more)


def _chosen(store: Store, choice: Choice) -> tuple[list[str], bool]:
    """Their ids, the oldest first, and whether there are more."""
    if (choice.ids is None) == (choice.filter is None):
        raise unprocessable("give either ids or a filter")
    if choice.filter is None:
        return choice.ids or [], False
    page = dead_page(store, dead_query(choice.filter), AT_ONCE, scan=1_000_000)
    return [letter.id for letter in page.letters][::-1], page.next is not None


routes = Router("/", route_handlers=[list_dead, group_dead, get_dead, retry_one, drop_one, retry_many, drop_many])
