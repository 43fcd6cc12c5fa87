"""Redis for the loops of asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from time import perf_counter
from typing import Any, TypeVar, cast

import redis.asyncio
from redis.exceptions import RedisError

from shared.metrics.catalogue import ROUND_TRIP
from shared.scripts.call import Arg, Call, all_scripts
from shared.store.connecting import NOT_ENOUGH, SOCKET_TIMEOUT_S, client_at, new_reader, packed
from shared.store.errors import raise_first, translated, without_script
from shared.store.resp import RespConnection

Reply = TypeVar("Reply")
T = TypeVar("T")


class AsyncStore:
    """The same for asyncio (ingest). Verbs share one connection and are carried out in the order in which they were
    asked for, however many are under way; where it breaks, all of those fail.
    """

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client
        self._opened: redis.asyncio.Connection | None = None
        self._resp: RespConnection | None = None
        self._opening: asyncio.Task[RespConnection] | None = None

    @classmethod
    def connect(cls, url: str) -> AsyncStore:
        """A store for this address; nothing is sent yet. Raises ConfigError."""
        return cls(client_at(url, redis.asyncio.Redis.from_url))

    async def run(self, call: Call[Reply]) -> Reply:
        """Run one verb. Raises StoreUnavailable (it may or may not have been carried out), ScriptError."""
        return call.decode((await self._replies([call]))[0])

    async def run_many(self, calls: Sequence[Call[Any]]) -> list[Any]:
        """Run verbs in order in one round trip. An error of the first that failed is raised after all were sent."""
        return [call.decode(reply) for call, reply in zip(calls, await self._replies(calls), strict=True)]

    async def command(self, *args: Arg) -> Any:
        """A plain command. Raises StoreUnavailable, ScriptError."""
        try:
            return await _heeded(self._client.execute_command(*args))  # type: ignore[no-untyped-call]
        except (RedisError, OSError) as error:
            raise translated(error, str(args[0])) from error

    async def commands(self, commands: Sequence[Sequence[Arg]]) -> list[Any]:
        """Plain commands in one round trip."""
        if not commands:
            return []
        try:
            async with self._client.pipeline(transaction=False) as pipeline:
                for command in commands:
                    pipeline.execute_command(*command)
                replies: list[Any] = await _heeded(pipeline.execute(raise_on_error=False))
        except (RedisError, OSError) as error:
            raise translated(error, str(commands[0][0])) from error
        raise_first([str(command[0]) for command in commands], replies)
        return replies

    async def close(self) -> None:
        """Drop the connections."""
        if self._opening is not None:
            self._opening.cancel()
        await self._drop()
        await self._client.aclose()

    async def _replies(self, calls: Sequence[Call[Any]]) -> list[Any]:
        verb, began = calls[0].script.name, perf_counter()
        try:
            replies = await self._send(calls)
            if missing := without_script(replies):
                for script in all_scripts():
                    await self._client.script_load(script.source)
                again = await self._send([calls[i] for i in missing])
                for i, reply in zip(missing, again, strict=True):
                    replies[i] = reply
        except (RedisError, OSError) as error:
            raise translated(error, verb) from error
        ROUND_TRIP.of(verb).observe(perf_counter() - began)
        raise_first([call.script.name for call in calls], replies)
        return replies

    async def _send(self, calls: Sequence[Call[Any]]) -> list[Any]:
        resp = self._resp
        if resp is None or not resp.is_open:
            resp = await self._open()
        return await resp.send(packed(calls), len(calls))

    async def _open(self) -> RespConnection:
        """The next connection. All who want one at the same time wait for the same attempt, and share its end."""
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._reconnect())
            self._opening.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._opening)

    async def _reconnect(self) -> RespConnection:
        """redis-py connects as the address says (TLS, user, database); from then on the transport is ours: its own way
        of asking costs several times what Redis needs to answer.
        """
        await self._drop()
        self._opened = connection = self._client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        await connection.connect()
        transport = cast("asyncio.Transport", connection._writer.transport)  # noqa: SLF001 - it offers no other way
        self._resp = RespConnection(transport, new_reader(), NOT_ENOUGH, SOCKET_TIMEOUT_S)
        return self._resp

    async def _drop(self) -> None:
        if self._resp is not None:
            self._resp.close()
        if self._opened is not None:
            await self._opened.disconnect(nowait=True)


async def _heeded(reply: Awaitable[T]) -> T:
    """What it gives, or CancelledError: redis-py writes with `asyncio.wait_for`, which in Python 3.11 swallows a
    cancellation that comes in the moment of its end.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    found = await reply
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError
    return found
