"""How a connection is made and spoken: redis-py opens it, hiredis packs and reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import hiredis
import redis
from hiredis import pack_command
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, ResponseError
from redis.retry import Retry

from shared.errors import ConfigError
from shared.scripts.call import Arg, Call

SOCKET_TIMEOUT_S = 15.0
CONNECT_TIMEOUT_S = 5.0
_OPTIONS: dict[str, Any] = {
    "socket_timeout": SOCKET_TIMEOUT_S,
    "socket_connect_timeout": CONNECT_TIMEOUT_S,
    "protocol": 2,
}
NOT_ENOUGH = object()


def client_at(url: str, make: Callable[..., Any]) -> Any:
    """What `make` (a `from_url` of redis-py) makes for this address, without retries. Raises ConfigError."""
    keep_alive = {} if url.startswith("unix:") else {"socket_keepalive": True}
    try:
        return make(url, retry=Retry(NoBackoff(), 0), **keep_alive, **_OPTIONS)
    except ValueError as error:
        raise ConfigError(
            f"REDIS_URL {url!r} is not a Redis address: {error}", hint="for example redis://127.0.0.1:6379/0"
        ) from error


def rq_connection(url: str) -> redis.Redis:
    """The bare client, for RQ's own code in the worker."""
    client: redis.Redis = client_at(url, redis.Redis.from_url)
    return client


def packed(calls: Sequence[Call[Any]]) -> bytes:
    """The requests that run these verbs, as they go over the wire."""
    return b"".join([pack_command(_evalsha(call)) for call in calls])  # type: ignore[arg-type]


def _evalsha(call: Call[Any]) -> tuple[Arg, ...]:
    return ("EVALSHA", call.script.sha, len(call.keys), *call.keys, *call.args)


def new_reader() -> hiredis.Reader:
    """A parser of replies: an error reply is given as an exception, `NOT_ENOUGH` where there is no whole reply yet."""
    return hiredis.Reader(protocolError=ConnectionError, replyError=_error_reply, notEnoughData=NOT_ENOUGH)


def _error_reply(text: str) -> ResponseError:
    return NoScriptError(text) if text.startswith("NOSCRIPT") else ResponseError(text)
