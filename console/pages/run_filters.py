"""The filters of the runs page: from the address to a query, and back."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from litestar.datastructures import MultiDict

from shared.run_query import SOURCES, Query, page_scan, parse_sought
from shared.runs import LIVE, TERMINAL
from shared.topics import parse_filter
from shared.when import parse_when

STATES: Final = (*LIVE, *(state for state in TERMINAL if state != "filtered"))
"""Those that have a record."""
PER_PAGE: Final = 50
SINCE: Final = {"15min": "last 15 minutes", "1h": "last hour", "24h": "last 24 hours", "7d": "last 7 days"}
MADE_BY: Final = {
    "message": "a message", "api": "API or console", "preview": "a preview", "replay": "run again",
    "redrive": "retried by hand", "handler": "error handler", "alert": "an alert", "child": "another run",
}  # fmt: skip
"""Sources in words."""
_SEVERAL: Final = {"state": ("states", STATES), "source": ("sources", SOURCES)}


class Filters(msgspec.Struct, frozen=True):
    """As they stand in the address: texts as they were typed, '' for any; `steps` is any text for yes."""

    states: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    trigger: str = ""
    runnable: str = ""
    folder: str = ""
    topic: str = ""
    label: str = ""
    error: str = ""
    args: str = ""
    result: str = ""
    worker: str = ""
    user: str = ""
    steps: str = ""
    since: str = ""
    until: str = ""

    @property
    def is_narrow(self) -> bool:
        """Whether anything is filtered."""
        return self not in (Filters(), Filters(steps=self.steps))

    @property
    def finds_live(self) -> bool:
        """Whether it may find runs that have not ended."""
        return not self.states or not {*self.states}.isdisjoint(LIVE)

    @property
    def more(self) -> bool:
        """Whether one of those is set that are seldom."""
        seldom = (self.label, self.args, self.result, self.worker, self.user, self.steps, self.until)
        return bool(self.sources) or any(seldom)

    def address(self, **changes: str) -> str:
        """The runs page with these filters, and with other parameters beside."""
        fields = msgspec.structs.asdict(self)
        pairs = [(name, each) for name, (field, _) in _SEVERAL.items() for each in fields.pop(field)]
        pairs += [(name, value) for name, value in (fields | changes).items() if value]
        return "/runs" + (f"?{urlencode(pairs)}" if pairs else "")


def query_of(filters: Filters, now_us: int) -> Query:
    """The query that the filters ask for. Raises UserError, TopicError, which say what is wrong with a text."""
    query = Query(
        trigger=filters.trigger or None,
        runnable=filters.runnable or None,
        folder=filters.folder or None,
        states=frozenset(filters.states),
        sources=frozenset(filters.sources),
        topic=parse_filter(filters.topic) if filters.topic else None,
        label=filters.label or None,
        error=filters.error or None,
        args=parse_sought(filters.args) if filters.args else None,
        result=parse_sought(filters.result) if filters.result else None,
        worker=filters.worker or None,
        user=filters.user or None,
        steps=bool(filters.steps),
        since=parse_when(filters.since, now_us) if filters.since else None,
        until=parse_when(filters.until, now_us) if filters.until else None,
        limit=PER_PAGE,
    )
    return msgspec.structs.replace(query, scan=page_scan(query))


def read_filters(query: MultiDict[str]) -> Filters:
    """The filters in an address; states and sources that there are not are passed over."""
    given: dict[str, Any] = {name: query.get(name, "").strip() for name in Filters.__struct_fields__}
    for name, (field, known) in _SEVERAL.items():
        given[field] = tuple(each for each in known if each in query.getall(name, []))
    return Filters(**given)
