"""The filters of the runs page: from the address to a query, and back."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

import msgspec
from litestar.datastructures import MultiDict

from shared.history import Query
from shared.runs import LIVE, TERMINAL
from shared.topics import parse_filter
from shared.when import parse_when

STATES: Final = (*LIVE, *(state for state in TERMINAL if state != "filtered"))
"""Those that have a record."""
PER_PAGE: Final = 50
LOOK_AT: Final = 10_000
"""Runs that a page looks at before it asks whether to go on."""
SINCE: Final = {"15min": "last 15 minutes", "1h": "last hour", "24h": "last 24 hours", "7d": "last 7 days"}


class Filters(msgspec.Struct, frozen=True):
    """As they stand in the address: texts as they were typed, '' for any."""

    states: tuple[str, ...] = ()
    trigger: str = ""
    runnable: str = ""
    topic: str = ""
    label: str = ""
    error: str = ""
    since: str = ""
    until: str = ""

    @property
    def is_narrow(self) -> bool:
        """Whether anything is filtered."""
        return self != Filters()

    def address(self, **changes: str) -> str:
        """The runs page with these filters, and with other parameters beside."""
        fields = msgspec.structs.asdict(self)
        pairs = [("state", state) for state in fields.pop("states")]
        pairs += [(name, value) for name, value in (fields | changes).items() if value]
        return "/runs" + (f"?{urlencode(pairs)}" if pairs else "")


def query_of(filters: Filters, now_ms: int) -> Query:
    """The query that the filters ask for. Raises UserError, TopicError, which say what is wrong with a text."""
    return Query(
        trigger=filters.trigger or None,
        runnable=filters.runnable or None,
        states=frozenset(filters.states),
        topic=parse_filter(filters.topic) if filters.topic else None,
        label=filters.label or None,
        error=filters.error or None,
        since=parse_when(filters.since, now_ms) if filters.since else None,
        until=parse_when(filters.until, now_ms) if filters.until else None,
        limit=PER_PAGE,
        scan=LOOK_AT,
    )


def read_filters(query: MultiDict[str]) -> Filters:
    """The filters in an address; states that there are not are passed over."""
    wanted = query.getall("state", [])
    names = [name for name in Filters.__struct_fields__ if name != "states"]
    texts = {name: query.get(name, "").strip() for name in names}
    return Filters(states=tuple(state for state in STATES if state in wanted), **texts)
