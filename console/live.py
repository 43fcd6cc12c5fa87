"""What is going on, told as it happens to whoever listens. Nobody listens: nothing is read, nothing is spent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Literal

import msgspec

from console.blocking import Blocking
from console.errors import unavailable
from shared.config import Settings
from shared.errors import HeadraceError
from shared.history import search_page
from shared.run_query import Query
from shared.run_walk import STEP
from shared.samples import changed_cells
from shared.status import Status, read_status
from shared.store import Store

EVERY_S: Final = 1.0
LISTENERS_MAX: Final = 50
BEHIND_MAX: Final = 200
LONGEST_S: Final = 900.0
"""Then a browser comes again, and whether it still may is looked at."""
SILENCE_S: Final = 15.0
_RUNS_SHOWN: Final = 50

Kind = Literal["counters", "backlog", "session", "worker", "run", "error"]


class Event(msgspec.Struct, frozen=True):
    """One piece of news: cells of the counters that changed, the backlog, a session or worker that changed, a run that
    is new or has gone on to another state.
    """

    kind: Kind
    data: Any


class RunNews(msgspec.Struct, frozen=True):
    """A run as a list shows it."""

    id: str
    state: str
    trigger: str
    runnable: str | None
    topic: str | None
    queued_at: str | None
    started_at: str | None
    ended_at: str | None


class Picture(msgspec.Struct, frozen=True):
    """What was seen at a moment."""

    status: Status
    runs: dict[str, RunNews]


class Live:
    """The listeners of one process, and the one task that looks for all of them."""

    def __init__(self, work: Blocking, settings: Settings) -> None:
        self._work = work
        self._url = settings.redis_url
        self._listeners: set[asyncio.Queue[Event | None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False
        self._others = 0

    @property
    def is_closed(self) -> bool:
        """Whether the process is about to stop: whoever streams has to end."""
        return self._is_closed

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Whoever streams something else counts as a listener."""
        self._others += 1
        try:
            yield
        finally:
            self._others -= 1

    def check(self) -> None:
        """Raises Refusal (503) where nobody more can listen."""
        if self._is_closed or len(self._listeners) + self._others >= LISTENERS_MAX:
            raise unavailable(f"{LISTENERS_MAX} listen already, or the console is about to stop")

    async def listen(self) -> AsyncIterator[Event | None]:
        """News until the process stops, the listener falls too far behind, or LONGEST_S have passed; None now and then,
        where there is none.
        """
        queue: asyncio.Queue[Event | None] = asyncio.Queue(BEHIND_MAX)
        self._listeners.add(queue)
        if self._task is None:
            self._task = asyncio.create_task(self._look())
        try:
            end = time.monotonic() + LONGEST_S
            while not self._is_closed and time.monotonic() < end:
                try:
                    event = await asyncio.wait_for(queue.get(), SILENCE_S)
                except TimeoutError:
                    yield None
                    continue
                if event is None:
                    return
                yield event
        finally:
            self._listeners.discard(queue)
            if not self._listeners and self._task is not None:
                self._task.cancel()
                self._task = None

    def close(self) -> None:
        """End all."""
        self._is_closed = True
        for queue in self._listeners:
            _end(queue)

    async def _look(self) -> None:
        before: Picture | None = None
        while True:
            try:
                after = await self._work(look, self._url)
                news = differences(before, after) if before else []
                before = after
            except HeadraceError as error:
                news = [Event("error", error.message)]
            self._tell(news)
            await asyncio.sleep(EVERY_S)

    def _tell(self, news: list[Event]) -> None:
        for queue in list(self._listeners):
            try:
                for event in news:
                    queue.put_nowait(event)
            except asyncio.QueueFull:
                _end(queue)
                self._listeners.discard(queue)


def look(store: Store, url: str) -> Picture:
    """What there is to see now: the status, and the newest runs."""
    page = search_page(store, Query(limit=_RUNS_SHOWN, scan=STEP, steps=False))
    runs = {
        run.id: RunNews(
            run.id, run.state, run.trigger, run.runnable, run.topic, run.queued_at, run.started_at, run.ended_at
        )
        for run in page.runs
    }
    return Picture(read_status(store, url), runs)


def differences(before: Picture, after: Picture) -> list[Event]:
    """What has changed from one look to the next. Pure."""
    events: list[Event] = []
    old, new = before.status, after.status
    totals = changed_cells(old.counters.total, new.counters.total)
    triggers = {
        path: cells
        for path, counters in new.counters.triggers.items()
        if (cells := changed_cells(old.counters.triggers.get(path, {}), counters))
    }
    if totals or triggers:
        events.append(Event("counters", {"total": totals, "triggers": triggers}))
    if _backlog(old) != _backlog(new):
        events.append(Event("backlog", _backlog(new)))
    events += _changed("session", {each.session: each for each in old.sessions}, {e.session: e for e in new.sessions})
    events += _changed("worker", {each.name: each for each in old.workers}, {e.name: e for e in new.workers})
    runs = _changed("run", before.runs, after.runs)
    return [*events, *reversed(runs)]


def _backlog(status: Status) -> dict[str, int | None]:
    return {
        "inbox": status.inbox_length,
        "queue": status.queue_length,
        "running": status.running,
        "dead": status.dead,
        "oldest_unprocessed_age_ms": status.oldest_unprocessed_age_ms,
    }


def _changed(kind: Kind, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Event]:
    return [Event(kind, each) for name, each in after.items() if before.get(name) != each]


def _end(queue: asyncio.Queue[Event | None]) -> None:
    while queue.full():
        queue.get_nowait()
    queue.put_nowait(None)
