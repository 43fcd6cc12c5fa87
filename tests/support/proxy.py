"""A TCP proxy that loses replies on purpose."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self

from tests.support.ports import HOST

_CHUNK = 256 * 1024


@dataclass(eq=False)
class _Link:
    """One connection through the proxy."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    asked: bytearray = field(default_factory=bytearray)
    """What the client has sent since the last reply."""

    def drop(self) -> None:
        self.client.transport.abort()
        self.server.transport.abort()


class CuttingProxy:
    """Passes a client's connections on to a server of this machine until it is told otherwise. Use as a context.

    `cut_replies` is exact for clients with one request under way per connection: the server has carried the request
    out, and the client learns nothing of it.
    """

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="cutting-proxy", daemon=True)
        self._started = threading.Event()
        self._mode: Literal["pass", "refuse", "stall"] = "pass"
        self._flowing = asyncio.Event()
        self._links: set[_Link] = set()
        self._cuts_left = 0
        self._cut_after = b""
        self.port = 0
        self.cuts = 0
        """Replies cut so far."""

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    @property
    def connections(self) -> int:
        """Connections that pass through now."""
        return len(self._links)

    def cut_replies(self, count: int = 1, *, after: bytes = b"") -> None:
        """Forward the next `count` requests that contain `after`, and end the connection when the reply comes.

        What a client says by itself on a new connection is a request too.
        """
        self._do(lambda: self._set_cuts(count, after))

    def has_cut(self, count: int) -> bool:
        """Whether so many replies have been cut."""
        return self.cuts >= count

    def drop(self) -> None:
        """End all connections; new ones are served as before."""
        self._do(self._drop_all)

    def refuse(self) -> None:
        """End all connections, and each new one at once, until `resume`."""
        self._do(lambda: self._set_mode("refuse"))

    def stall(self) -> None:
        """Keep connections open and accept new ones, but pass nothing on until `resume`."""
        self._do(lambda: self._set_mode("stall"))

    def resume(self) -> None:
        """Pass on again, what was held back first, and cut no more."""
        self._do(lambda: self._set_mode("pass"))

    def _do(self, act: Callable[[], None]) -> None:
        """Run in the proxy's thread, and return when it is done."""
        done = threading.Event()

        def call() -> None:
            act()
            done.set()

        self._loop.call_soon_threadsafe(call)
        if not done.wait(5):
            raise RuntimeError("the proxy does not run")

    def _set_cuts(self, count: int, after: bytes) -> None:
        self._cuts_left, self._cut_after = count, after

    def _set_mode(self, mode: Literal["pass", "refuse", "stall"]) -> None:
        self._mode = mode
        if mode == "refuse":
            self._drop_all()
        if mode == "pass":
            self._set_cuts(0, b"")
        (self._flowing.clear if mode == "stall" else self._flowing.set)()

    def _drop_all(self) -> None:
        for link in list(self._links):
            link.drop()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, HOST, 0))
        self.port = server.sockets[0].getsockname()[1]
        self._flowing.set()
        self._started.set()
        self._loop.run_forever()
        server.close()
        self._loop.run_until_complete(self._let_go())
        self._loop.close()

    async def _let_go(self) -> None:
        self._set_mode("pass")
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            self._drop_all()
            await asyncio.wait(others, timeout=0.1)

    async def _serve(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        if self._mode == "refuse":
            to_client.transport.abort()
            return
        try:
            from_server, to_server = await asyncio.open_connection(HOST, self._target_port)
        except OSError:
            to_client.transport.abort()
            return
        link = _Link(to_client, to_server)
        self._links.add(link)
        pumps = {
            asyncio.create_task(self._requests(from_client, link)),
            asyncio.create_task(self._replies(from_server, link)),
        }
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        self._links.discard(link)
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        to_client.close()
        to_server.close()

    async def _requests(self, from_client: asyncio.StreamReader, link: _Link) -> None:
        while data := await from_client.read(_CHUNK):
            await self._flowing.wait()
            link.asked += data
            link.server.write(data)
            await link.server.drain()

    async def _replies(self, from_server: asyncio.StreamReader, link: _Link) -> None:
        while data := await from_server.read(_CHUNK):
            await self._flowing.wait()
            if self._cuts_left and link.asked and self._cut_after in link.asked:
                self._cuts_left -= 1
                self.cuts += 1
                link.drop()
                return
            link.asked.clear()
            link.client.write(data)
            await link.client.drain()
