"""One connection to Redis with any number of requests under way: packed requests out, replies in, in the same order.

It costs a request one write and one future: no task, no lock, no time-out of its own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Protocol


class ReplyReader(Protocol):
    """A parser of replies, as `hiredis.Reader` is one."""

    def feed(self, data: bytes, /) -> None:
        """More bytes came."""

    def gets(self) -> Any:
        """The next whole reply, an error reply as an exception; what stands for nothing, where there is none."""


class _Request:
    """Replies so far, and who waits for all of them."""

    __slots__ = ("count", "done", "replies")

    def __init__(self, count: int, done: asyncio.Future[list[Any]]) -> None:
        self.count = count
        self.done = done
        self.replies: list[Any] = []


class RespConnection(asyncio.Protocol):
    """Takes over a transport that is connected, authenticated and has no request under way.

    When it ends, whatever the reason, each request that lacks a reply fails with OSError: it may or may not have been
    carried out. It ends by itself when Redis leaves requests without any reply for `timeout_s`. A request whose caller
    no longer waits is answered to nobody, and those behind it are not touched.
    """

    def __init__(self, transport: asyncio.Transport, reader: ReplyReader, nothing: object, timeout_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._reader = reader
        self._nothing = nothing
        self._timeout_s = timeout_s
        self._requests: deque[_Request] = deque()
        self._heard_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._is_open = not transport.is_closing()
        transport.set_protocol(self)

    @property
    def is_open(self) -> bool:
        """False once it has ended. There is no way back."""
        return self._is_open

    def send(self, packed: bytes, count: int) -> asyncio.Future[list[Any]]:
        """Send so many packed requests; the future holds their replies, error replies as exceptions.

        Raises ConnectionError when the connection has ended: nothing was sent.
        """
        if not self._is_open:
            raise ConnectionResetError("the connection has ended")
        request = _Request(count, self._loop.create_future())
        if not self._requests:
            self._heard_at = self._loop.time()
        self._requests.append(request)
        self._transport.write(packed)
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout_s, self._look)
        return request.done

    def close(self) -> None:
        """End it."""
        self._end(ConnectionAbortedError("the connection was closed"))

    def data_received(self, data: bytes) -> None:
        """Replies came, or a part of one."""
        self._heard_at = self._loop.time()
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not self._nothing:
                self._take(reply)
        except Exception as error:  # noqa: BLE001 - whatever the parser calls it, no later reply can be told apart
            self._end(ConnectionAbortedError(f"what came is no reply: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone."""
        self._end(ConnectionResetError(f"the connection broke: {exc}" if exc else "Redis closed the connection"))

    def _take(self, reply: Any) -> None:
        request = self._requests[0]
        request.replies.append(reply)
        if len(request.replies) == request.count:
            self._requests.popleft()
            if not request.done.done():
                request.done.set_result(request.replies)

    def _look(self) -> None:
        """Has Redis been silent for too long? One timer for all requests, set again only when it has run out."""
        self._timer = None
        if not self._requests:
            return
        left_s = self._heard_at + self._timeout_s - self._loop.time()
        if left_s > 0:
            self._timer = self._loop.call_later(left_s, self._look)
        else:
            self._end(TimeoutError(f"no answer within {self._timeout_s:g} s"))

    def _end(self, error: OSError) -> None:
        if not self._is_open:
            return
        self._is_open = False
        if self._timer is not None:
            self._timer.cancel()
        self._transport.abort()
        while self._requests:
            request = self._requests.popleft()
            if not request.done.done():
                request.done.set_exception(error)
