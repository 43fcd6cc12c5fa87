"""The only door to Redis: connects, runs verbs, translates errors.

A call is carried out at most once by the door itself: redis-py's own retries are off, because a lost reply does not
tell whether the request was carried out. Callers repeat only verbs that are idempotent (each stub says so).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import redis
import redis.asyncio
from hiredis import pack_command
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.retry import Retry

from shared.errors import ConfigError, HeadraceError, ScriptError, StoreUnavailable
from shared.scripts.call import Arg, Call, all_scripts

Reply = TypeVar("Reply")
SOCKET_TIMEOUT_S = 15.0
CONNECT_TIMEOUT_S = 5.0
_OPTIONS: dict[str, Any] = {
    "socket_timeout": SOCKET_TIMEOUT_S,
    "socket_connect_timeout": CONNECT_TIMEOUT_S,
    "socket_keepalive": True,
    "protocol": 2,
}
# Answers after which the same request may work later: Redis is loading, failing over or full, or was emptied.
_UNAVAILABLE = frozenset(
    {"LOADING", "MASTERDOWN", "READONLY", "CLUSTERDOWN", "TRYAGAIN", "OOM", "MISCONF", "BUSY", "NOREPLICAS"}
    | {"UNBLOCKED", "NOGROUP"}
)
_REFUSED = frozenset({"WRONGPASS", "NOAUTH", "NOPERM"})


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
    try:
        return make(url, retry=Retry(NoBackoff(), 0), **_OPTIONS)
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
        if self._connection is not None:
            self._connection.disconnect()  # type: ignore[no-untyped-call]
        self._client.close()

    def _replies(self, calls: Sequence[Call[Any]]) -> list[Any]:
        try:
            replies = self._send(calls)
            if missing := _missing(replies):
                for script in all_scripts():
                    self._client.script_load(script.source)
                again = self._send([calls[i] for i in missing])
                for i, reply in zip(missing, again, strict=True):
                    replies[i] = reply
        except (RedisError, OSError) as error:
            raise _translate(error, calls[0].script.name) from error
        _raise_first(calls, replies)
        return replies

    def _send(self, calls: Sequence[Call[Any]]) -> list[Any]:
        """By a connection that is kept: redis-py's pool and pipeline cost more than the round trip."""
        if self._connection is None:
            self._connection = self._client.connection_pool.get_connection()
        connection = self._connection
        packed = b"".join([pack_command(_evalsha(call)) for call in calls])  # type: ignore[arg-type]
        connection.send_packed_command([packed])  # type: ignore[no-untyped-call]
        return [_reply(connection) for _ in calls]


def _reply(connection: AbstractConnection) -> Any:
    try:
        return connection.read_response()
    except ResponseError as error:
        return error


class AsyncStore:
    """The same for asyncio (ingest). Calls in flight together take connections of their own, and are in no order."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client

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

    async def close(self) -> None:
        """Drop the connection."""
        await self._client.aclose()

    async def _replies(self, calls: Sequence[Call[Any]]) -> list[Any]:
        try:
            replies = await self._send(calls)
            if missing := _missing(replies):
                for script in all_scripts():
                    await self._client.script_load(script.source)
                again = await self._send([calls[i] for i in missing])
                for i, reply in zip(missing, again, strict=True):
                    replies[i] = reply
        except (RedisError, OSError) as error:
            raise _translate(error, calls[0].script.name) from error
        _raise_first(calls, replies)
        return replies

    async def _send(self, calls: Sequence[Call[Any]]) -> list[Any]:
        if len(calls) == 1:
            try:
                return [await self._client.execute_command(*_evalsha(calls[0]))]  # type: ignore[no-untyped-call]
            except ResponseError as error:
                return [error]
        async with self._client.pipeline(transaction=False) as pipeline:
            for call in calls:
                pipeline.execute_command(*_evalsha(call))
            replies: list[Any] = await pipeline.execute(raise_on_error=False)
            return replies


def _missing(replies: Sequence[Any]) -> list[int]:
    """Redis forgets scripts when it restarts or is told to: these have not been carried out."""
    return [i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError)]


def _raise_first(calls: Sequence[Call[Any]], replies: Sequence[Any]) -> None:
    for call, reply in zip(calls, replies, strict=True):
        if isinstance(reply, Exception):
            raise _translate(reply, call.script.name) from reply
