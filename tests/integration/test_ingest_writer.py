"""The ordered writer against a real server: several round trips under way, answers lost, order and count kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

import pytest

from ingest.session_events import Admit, RecordSubscriptions, StoreRequest
from ingest.store_watch import StoreWatch
from ingest.writer import LARGE_ROUND, StoreWriter
from shared import keys
from shared.config import Settings
from shared.errors import LeaseLost
from shared.scripts import ingest
from shared.scripts.ingest import Admission
from shared.store import AsyncStore
from tests.support.factories import SESSION, TRIGGER
from tests.support.ports import HOST
from tests.support.proxy import CuttingProxy
from tests.support.valkey import ValkeyServer

REQUESTS = 40


def batch(number: int) -> Admit:
    """So many messages that they do not wait for the answer to those before; each says where it stands."""
    envelopes = [b"%d" % (number * LARGE_ROUND + i) for i in range(LARGE_ROUND)]
    return Admit(Admission(received=LARGE_ROUND, envelopes=envelopes), 8 * LARGE_ROUND)


class Writing:
    """A writer whose requests are known, and in which order they were answered."""

    def __init__(self, url: str, on_answers: Callable[[], None] = lambda: None) -> None:
        self.store = AsyncStore.connect(url)
        self.requests: list[StoreRequest] = [batch(number) for number in range(REQUESTS)]
        self.requests.insert(REQUESTS // 2, RecordSubscriptions("{}"))
        self.answered: list[StoreRequest] = []
        self.begun = asyncio.Event()
        self._url = url
        self._on_answers = on_answers

    async def begin(self) -> None:
        """Take the lease and put half of the requests; each answer puts one more."""
        token = (await self.store.run(ingest.lease_acquire(SESSION, "test", 60_000))).token
        watch = StoreWatch(self._url)
        self.writer = StoreWriter(self.store, watch, SESSION, token, self._stored, Settings())
        self.writer.trigger = TRIGGER
        self._left = iter(self.requests[REQUESTS // 2 :])
        self.writer.put(self.requests[: REQUESTS // 2])
        self.task = asyncio.create_task(self.writer.run())

    def _stored(self, answers: Sequence[tuple[StoreRequest, int]]) -> None:
        for request, _ in answers:
            self.answered.append(request)
            self.writer.put([each for each in [next(self._left, None)] if each is not None])
        self._on_answers()
        self.begun.set()

    async def end(self) -> None:
        """Stop what runs."""
        self.task.cancel()
        with suppress(asyncio.CancelledError, LeaseLost):
            await self.task
        await self.store.close()


def inbox(valkey: ValkeyServer) -> list[int]:
    """The messages, by the numbers that they say."""
    with valkey.client() as client:
        return [int(row[1][b"e"]) for row in client.xrange(keys.INBOX)]


def test_answers_lost_with_several_round_trips_under_way_change_nothing(own_valkey: ValkeyServer) -> None:
    """Neither order nor count of the messages, nor the order of the answers."""

    async def main(proxy: CuttingProxy) -> list[bool]:
        def cut() -> None:
            if proxy.cuts < 4:
                proxy.cut_replies(1, after=b"EVALSHA")

        writing = Writing(f"redis://{HOST}:{proxy.port}/0", cut)
        await writing.begin()
        await writing.writer.idle()
        await writing.end()
        return [done is asked for done, asked in zip(writing.answered, writing.requests, strict=True)]

    with CuttingProxy(own_valkey.port) as proxy:
        assert all(asyncio.run(main(proxy)))
        assert proxy.cuts > 1
    assert inbox(own_valkey) == list(range(REQUESTS * LARGE_ROUND))


def test_nothing_is_written_once_the_lease_is_lost(own_valkey: ValkeyServer) -> None:
    """Not by the round trips that were under way either."""

    async def main() -> None:
        writing = Writing(own_valkey.url)
        await writing.begin()
        await writing.begun.wait()
        await writing.store.command("HSET", keys.session(SESSION), "fence", 2)
        kept = await writing.store.command("XLEN", keys.INBOX)
        with pytest.raises(LeaseLost):
            await writing.task
        writing.writer.put([batch(REQUESTS)])
        assert await writing.store.command("XLEN", keys.INBOX) == kept
        await writing.end()

    asyncio.run(main())
    assert inbox(own_valkey) == list(range(len(inbox(own_valkey))))
