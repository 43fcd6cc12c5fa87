"""One connection to Redis with many requests under way: which reply is whose, and what the end of it means for each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import hiredis
import pytest

from shared.store.resp import RespConnection

NOTHING = object()
Step = Callable[["Wire", RespConnection], Awaitable[None]]


class Wire(asyncio.Transport):
    """The other end: keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[Any] = []
        self.closed = False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Whoever is there reads by being called."""

    def write(self, data: Any) -> None:
        """Towards Redis."""
        self.written.append(data)

    def is_closing(self) -> bool:
        """Whether it has been ended."""
        return self.closed

    def abort(self) -> None:
        """End it."""
        self.closed = True


def talk(step: Step, timeout_s: float = 60.0) -> Wire:
    """Run a conversation on a new connection; the wire as it is after it."""

    async def run() -> Wire:
        wire = Wire()
        reader = hiredis.Reader(replyError=ValueError, notEnoughData=NOTHING)
        await step(wire, RespConnection(wire, reader, NOTHING, timeout_s))
        return wire

    return asyncio.run(run())


@pytest.mark.parametrize("cut", [1, 3, 1000])
def test_replies_belong_to_requests_in_order_however_they_are_cut(cut: int) -> None:
    """A request of several commands is answered when all of them are; an error reply is a reply."""

    async def step(_: Wire, resp: RespConnection) -> None:
        first, second = resp.send(b"one two", 2), resp.send(b"three", 1)
        replies = b"*2\r\n:1\r\n$2\r\nok\r\n-OOM full\r\n:3\r\n"
        for at in range(0, len(replies), cut):
            resp.data_received(replies[at : at + cut])
        [numbers, error] = await first
        assert (numbers, str(error), await second) == ([1, b"ok"], "OOM full", [3])

    assert talk(step).written == [b"one two", b"three"]


def test_a_connection_that_ends_within_a_reply_fails_what_lacks_one() -> None:
    """What was answered before stays answered, and nothing more is sent."""

    async def step(_: Wire, resp: RespConnection) -> None:
        answered, half, waiting = resp.send(b"1", 1), resp.send(b"2", 2), resp.send(b"3", 1)
        resp.data_received(b":1\r\n:2\r\n$5\r\nhel")
        resp.connection_lost(None)
        assert await answered == [1]
        for request in (half, waiting):
            with pytest.raises(ConnectionError, match="closed the connection"):
                await request
        assert not resp.is_open
        with pytest.raises(ConnectionError, match="has ended"):
            resp.send(b"4", 1)

    assert talk(step).written == [b"1", b"2", b"3"]


def test_a_reply_that_nobody_waits_for_is_not_taken_for_the_next() -> None:
    """Whoever gave up has still sent its request."""

    async def step(_: Wire, resp: RespConnection) -> None:
        given_up, waiting = resp.send(b"1", 1), resp.send(b"2", 1)
        given_up.cancel()
        resp.data_received(b":1\r\n:2\r\n")
        assert await waiting == [2]

    assert not talk(step).closed


@pytest.mark.parametrize("came", [b"?what\r\n", b":1\r\n:2\r\n"], ids=["no reply", "a reply too many"])
def test_after_what_cannot_be_a_reply_nothing_is_believed(came: bytes) -> None:
    """The connection ends: what comes after it could be anybody's."""

    async def step(_: Wire, resp: RespConnection) -> None:
        request = resp.send(b"1", 1)
        resp.data_received(came)
        assert not resp.is_open
        if came.startswith(b":"):
            assert await request == [1]
        else:
            with pytest.raises(ConnectionError, match="no reply"):
                await request

    assert talk(step).closed


def test_a_redis_that_falls_silent_is_given_up() -> None:
    """What it was asked for may or may not have been carried out."""

    async def step(_: Wire, resp: RespConnection) -> None:
        answered, waiting = resp.send(b"1", 1), resp.send(b"2", 1)
        resp.data_received(b":1\r\n")
        assert await answered == [1]
        with pytest.raises(TimeoutError, match="no answer within"):
            await waiting

    assert talk(step, timeout_s=0.01).closed


def test_a_transport_that_has_ended_before_is_not_used() -> None:
    """Nobody would hear of its end again."""

    async def run() -> None:
        wire = Wire()
        wire.abort()
        assert not RespConnection(wire, hiredis.Reader(), NOTHING, 1.0).is_open

    asyncio.run(run())
