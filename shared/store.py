"""The only door to Redis: connects, runs verbs, translates errors.

A call is carried out at most once by the door itself: redis-py's own retries are off, because a lost reply does not
tell whether the request was carried out. Callers repeat only verbs that are idempotent (each stub says so).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, TypeVar, cast

import hiredis
import redis
import redis.asyncio
from hiredis import pack_command
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.retry import Retry

from shared.errors import ConfigError, HeadraceError, ScriptError, StoreUnavailable
from shared.metrics.catalogue import ROUND_TRIP
from shared.resp import RespConnection
from shared.scripts.call import Arg, Call, all_scripts

Reply = TypeVar("Reply")
SOCKET_TIMEOUT_S = 15.0
CONNECT_TIMEOUT_S = 5.0
RECEIVE_BYTES = 262_144
_OPTIONS: dict[str, Any] = {
    "socket_timeout": SOCKET_TIMEOUT_S,
    "socket_connect_timeout": CONNECT_TIMEOUT_S,
    "protocol": 2,
}
# Answers after which the same request may work later: Redis is loading, failing over or full, was emptied, or forgot
# its scripts again between loading them and using them.
_UNAVAILABLE = frozenset(
    {"LOADING", "MASTERDOWN", "READONLY", "CLUSTERDOWN", "TRYAGAIN", "OOM", "MISCONF", "BUSY", "NOREPLICAS"}
    | {"UNBLOCKED", "NOGROUP", "NOSCRIPT"}
)
_REFUSED = frozenset({"WRONGPASS", "NOAUTH", "NOPERM"})
_NOTHING = object()


def _evalsha(call: Call[Any]) -> tuple[Arg, ...]:
    return ("EVALSHA", call.script.sha, len(call.keys), *call.keys, *call.args)


def _translate(error: Exception, what: str) -> HeadraceError:
    if isinstance(error, HeadraceError):
        return error
    text = str(error)
    code = getattr(error, "status_code", None) or text.partition(" ")[0]
    if isinstance(error, ResponseError) and code not in _UNAVAILABLE:
        if code in _REFUSED:
            return StoreUnavailable(f"Redis refuses us: {text}", hint="check user and password in REDIS_URL", verb=what)
        return ScriptError(f"{what} failed in Redis: {text}", verb=what)
    return StoreUnavailable(
        f"Redis is not available: {text or type(error).__name__}", hint="check REDIS_URL and that Redis runs", verb=what
    )


def _checked(url: str, make: Callable[..., Any]) -> Any:
    keep_alive = {} if url.startswith("unix:") else {"socket_keepalive": True}
    try:
        return make(url, retry=Retry(NoBackoff(), 0), **keep_alive, **_OPTIONS)
    except ValueError as error:
        raise ConfigError(
            f"REDIS_URL {url!r} is not a Redis address: {error}", hint="for example redis://127.0.0.1:6379/0"
        ) from error


def rq_connection(url: str) -> redis.Redis:
    """The bare client, for RQ's own code in the worker."""
    client: redis.Redis = _checked(url, redis.Redis.from_url)
    return client


class Store:
    """Redis for the loops that block (dispatch, worker, commands). Not for use from several threads at once."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._connection: AbstractConnection | None = None
        self._socket: socket.socket | None = None
        self._reader = _reader()
        self._underway: Underway | None = None

    @classmethod
    def connect(cls, url: str) -> Store:
        """A store for this address; nothing is sent yet. Raises ConfigError."""
        return cls(rq_connection(url))

    def run(self, call: Call[Reply]) -> Reply:
        """Run one verb. Raises StoreUnavailable (it may or may not have been carried out), ScriptError."""
        return call.decode(self._replies([call])[0])

    def run_many(self, calls: Sequence[Call[Any]]) -> list[Any]:
        """Run verbs in order in one round trip. An error of the first that failed is raised after all were sent."""
        return [call.decode(reply) for call, reply in zip(calls, self._replies(calls), strict=True)]

    def begin(self, calls: Sequence[Call[Any]]) -> Underway:
        """Send verbs and do not wait: what else this store is asked meanwhile is carried out after them.

        Raises StoreUnavailable.
        """
        try:
            self._write(calls)
        except (RedisError, OSError) as error:
            raise _translate(error, calls[0].script.name) from error
        self._underway = Underway(self._end, calls)
        return self._underway

    def command(self, *args: Arg) -> Any:
        """A plain command. Raises StoreUnavailable, ScriptError."""
        try:
            return self._client.execute_command(*args)  # type: ignore[no-untyped-call]
        except (RedisError, OSError) as error:
            raise _translate(error, str(args[0])) from error

    def commands(self, commands: Sequence[Sequence[Arg]]) -> list[Any]:
        """Plain commands in one round trip."""
        if not commands:
            return []
        try:
            with self._client.pipeline(transaction=False) as pipeline:
                for command in commands:
                    pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
                replies = pipeline.execute(raise_on_error=False)
        except (RedisError, OSError) as error:
            raise _translate(error, str(commands[0][0])) from error
        for command, reply in zip(commands, replies, strict=True):
            if isinstance(reply, Exception):
                raise _translate(reply, str(command[0])) from reply
        return replies

    def close(self) -> None:
        """Drop the connections."""
        self._underway = None
        self._drop()
        self._client.close()

    def _replies(self, calls: Sequence[Call[Any]]) -> list[Any]:
        verb, began = calls[0].script.name, perf_counter()
        try:
            self._write(calls)
            replies = self._complete(calls, self._read(calls))
        except (RedisError, OSError) as error:
            raise _translate(error, verb) from error
        ROUND_TRIP.of(verb).observe(perf_counter() - began)
        return replies

    def _end(self, underway: Underway) -> list[Any]:
        calls = underway.calls
        try:
            if self._underway is underway:
                self._read_underway()
            if underway.error is not None:
                raise underway.error
            replies = self._complete(calls, underway.replies)
        except (RedisError, OSError) as error:
            raise _translate(error, calls[0].script.name) from error
        return [call.decode(reply) for call, reply in zip(calls, replies, strict=True)]

    def _complete(self, calls: Sequence[Call[Any]], replies: list[Any]) -> list[Any]:
        """Have carried out what Redis had no script for, and raise what it refused."""
        if missing := _missing(replies):
            for script in all_scripts():
                self._client.script_load(script.source)
            again = [calls[i] for i in missing]
            self._write(again)
            for i, reply in zip(missing, self._read(again), strict=True):
                replies[i] = reply
        _raise_first(calls, replies)
        return replies

    def _write(self, calls: Sequence[Call[Any]]) -> None:
        self._read_underway()
        packed = b"".join([pack_command(_evalsha(call)) for call in calls])  # type: ignore[arg-type]
        sock = self._socket or self._open()
        try:
            sock.sendall(packed)
        except BaseException:
            self._drop()
            raise

    def _read(self, calls: Sequence[Call[Any]]) -> list[Any]:
        sock = self._socket or self._open()
        try:
            return [self._reply(sock) for _ in calls]
        except BaseException:  # replies may be under way that nobody would read
            self._drop()
            raise

    def _read_underway(self) -> None:
        underway, self._underway = self._underway, None
        if underway is None:
            return
        try:
            underway.replies = self._read(underway.calls)
        except (RedisError, OSError) as error:
            underway.error = error

    def _reply(self, sock: socket.socket) -> Any:
        while (reply := self._reader.gets()) is _NOTHING:
            data = sock.recv(RECEIVE_BYTES)
            if not data:
                raise ConnectionResetError("Redis has closed the connection")
            self._reader.feed(data)
        return reply

    def _open(self) -> socket.socket:
        """redis-py connects as the address says (TLS, user, database); from then on the socket is ours: its own way of
        asking costs more than the round trip.
        """
        if self._connection is None:
            self._connection = self._client.connection_pool.get_connection()
        self._connection.connect()  # type: ignore[no-untyped-call]
        self._socket = cast("socket.socket", self._connection._sock)  # noqa: SLF001
        return self._socket

    def _drop(self) -> None:
        self._socket = None
        self._reader = _reader()
        if self._connection is not None:
            self._connection.disconnect()  # type: ignore[no-untyped-call]


class Underway:
    """Verbs that have been sent, and may or may not have been carried out until `result` says so."""

    __slots__ = ("_end", "calls", "error", "replies")

    def __init__(self, end: Callable[[Underway], list[Any]], calls: Sequence[Call[Any]]) -> None:
        self._end = end
        self.calls = calls
        self.replies: list[Any] = []
        self.error: RedisError | OSError | None = None

    def result(self) -> list[Any]:
        """The replies, as `Store.run_many` gives them; waits for them. To be asked once."""
        return self._end(self)


def _reader() -> hiredis.Reader:
    return hiredis.Reader(protocolError=ConnectionError, replyError=_error_reply, notEnoughData=_NOTHING)


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
        return cls(_checked(url, redis.asyncio.Redis.from_url))

    async def run(self, call: Call[Reply]) -> Reply:
        """Run one verb. Raises StoreUnavailable (it may or may not have been carried out), ScriptError."""
        return call.decode((await self._replies([call]))[0])

    async def run_many(self, calls: Sequence[Call[Any]]) -> list[Any]:
        """Run verbs in order in one round trip. An error of the first that failed is raised after all were sent."""
        return [call.decode(reply) for call, reply in zip(calls, await self._replies(calls), strict=True)]

    async def command(self, *args: Arg) -> Any:
        """A plain command. Raises StoreUnavailable, ScriptError."""
        try:
            return await self._client.execute_command(*args)  # type: ignore[no-untyped-call]
        except (RedisError, OSError) as error:
            raise _translate(error, str(args[0])) from error

    async def commands(self, commands: Sequence[Sequence[Arg]]) -> list[Any]:
        """Plain commands in one round trip."""
        if not commands:
            return []
        try:
            async with self._client.pipeline(transaction=False) as pipeline:
                for command in commands:
                    pipeline.execute_command(*command)
                replies: list[Any] = await pipeline.execute(raise_on_error=False)
        except (RedisError, OSError) as error:
            raise _translate(error, str(commands[0][0])) from error
        for command, reply in zip(commands, replies, strict=True):
            if isinstance(reply, Exception):
                raise _translate(reply, str(command[0])) from reply
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
            if missing := _missing(replies):
                for script in all_scripts():
                    await self._client.script_load(script.source)
                again = await self._send([calls[i] for i in missing])
                for i, reply in zip(missing, again, strict=True):
                    replies[i] = reply
        except (RedisError, OSError) as error:
            raise _translate(error, verb) from error
        ROUND_TRIP.of(verb).observe(perf_counter() - began)
        _raise_first(calls, replies)
        return replies

    async def _send(self, calls: Sequence[Call[Any]]) -> list[Any]:
        resp = self._resp
        if resp is None or not resp.is_open:
            resp = await self._open()
        packed = b"".join([pack_command(_evalsha(call)) for call in calls])  # type: ignore[arg-type]
        return await resp.send(packed, len(calls))

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
        self._resp = RespConnection(transport, _reader(), _NOTHING, SOCKET_TIMEOUT_S)
        return self._resp

    async def _drop(self) -> None:
        if self._resp is not None:
            self._resp.close()
        if self._opened is not None:
            await self._opened.disconnect(nowait=True)


def _error_reply(text: str) -> ResponseError:
    return NoScriptError(text) if text.startswith("NOSCRIPT") else ResponseError(text)


def _missing(replies: Sequence[Any]) -> list[int]:
    """Redis forgets scripts when it restarts or is told to: these have not been carried out."""
    return [i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError)]


def _raise_first(calls: Sequence[Call[Any]], replies: Sequence[Any]) -> None:
    for call, reply in zip(calls, replies, strict=True):
        if isinstance(reply, Exception):
            raise _translate(reply, call.script.name) from reply
