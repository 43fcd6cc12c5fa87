"""Redis for the loops that block."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, TypeVar, cast

import redis
from redis.connection import AbstractConnection
from redis.exceptions import RedisError

from shared.metrics.catalogue import ROUND_TRIP
from shared.scripts.call import Arg, Call, all_scripts
from shared.store.connecting import NOT_ENOUGH, new_reader, packed, rq_connection
from shared.store.errors import raise_first, translated, without_script

Reply = TypeVar("Reply")
_RECEIVE_BYTES = 262_144


class Store:
    """Redis for the loops that block (dispatch, worker, commands). Not for use from several threads at once."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._connection: AbstractConnection | None = None
        self._socket: socket.socket | None = None
        self._reader = new_reader()
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
            raise translated(error, calls[0].script.name) from error
        self._underway = Underway(self._end, calls)
        return self._underway

    def command(self, *args: Arg) -> Any:
        """A plain command. Raises StoreUnavailable, ScriptError."""
        try:
            return self._client.execute_command(*args)  # type: ignore[no-untyped-call]
        except (RedisError, OSError) as error:
            raise translated(error, str(args[0])) from error

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
            raise translated(error, str(commands[0][0])) from error
        raise_first([str(command[0]) for command in commands], replies)
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
            raise translated(error, verb) from error
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
            raise translated(error, calls[0].script.name) from error
        return [call.decode(reply) for call, reply in zip(calls, replies, strict=True)]

    def _complete(self, calls: Sequence[Call[Any]], replies: list[Any]) -> list[Any]:
        """Have carried out what Redis had no script for, and raise what it refused."""
        if missing := without_script(replies):
            for script in all_scripts():
                self._client.script_load(script.source)
            again = [calls[i] for i in missing]
            self._write(again)
            for i, reply in zip(missing, self._read(again), strict=True):
                replies[i] = reply
        raise_first([call.script.name for call in calls], replies)
        return replies

    def _write(self, calls: Sequence[Call[Any]]) -> None:
        self._read_underway()
        request = packed(calls)
        sock = self._socket or self._open()
        try:
            sock.sendall(request)
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
        while (reply := self._reader.gets()) is NOT_ENOUGH:
            data = sock.recv(_RECEIVE_BYTES)
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
        self._reader = new_reader()
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
