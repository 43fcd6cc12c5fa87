"""Waiting for the end of a run on behalf of somebody who has asked by HTTP, and answering with its result."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec
from litestar import MediaType, Request, Response
from litestar.status_codes import HTTP_200_OK, HTTP_204_NO_CONTENT, HTTP_304_NOT_MODIFIED, HTTP_422_UNPROCESSABLE_ENTITY

from console.answers import as_json
from console.callers import Caller
from console.errors import Refusal
from console.runs import Found, Runs
from console.windmill.job_objects import result

LONGEST_S: Final = 600.0
_FAST_EVERY_S, _FAST_FOR_S, _SLOW_EVERY_S = 0.05, 2.0, 0.2
_GONE: Final = "whoever waited for the result has gone away"
_STATUS, _TYPE, _HEADERS = "windmill_status_code", "windmill_content_type", "windmill_headers"
_TIMED_OUT: Final = 504
_NOBODY_READS: Final = 499
_ALONE: Final = "sandbox; default-src 'none'"
"""What code has answered is no page of the console: a browser gives it no script, and none of our origin."""
_NAME = re.compile(r"[A-Za-z0-9-]+")
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(; ?[A-Za-z0-9-]+=[A-Za-z0-9\"._=-]+)*")
_STATUS_MIN, _STATUS_MAX = 200, 599
_WITHOUT_BODY: Final = (HTTP_204_NO_CONTENT, HTTP_304_NOT_MODIFIED)
_NOT_ITS_OWN: Final = frozenset(
    {"set-cookie", "content-length", "content-type", "transfer-encoding", "connection", "content-security-policy",
     "x-frame-options", "x-content-type-options", "strict-transport-security", "location", "clear-site-data", "refresh",
     "www-authenticate", "date", "server", "host", "trailer", "te", "upgrade", "keep-alive", "content-encoding",
     "content-range"}
)  # fmt: skip
_NOT_BEGINNING: Final = ("proxy-", "access-control-", "cross-origin-")
"""Headers with which code that is run could speak for the console, or that the connection has its own of."""


async def wait_for(runs: Runs, run_id: str, request: Request[Caller, None, Any]) -> Response[Any]:
    """The result of a run, once it has ended; 422 and the error of one that did not succeed.

    Whoever closes the connection before that cancels the run. Raises Refusal (504) after LONGEST_S.
    """
    caller = request.user
    gone = asyncio.create_task(_until_gone(request))
    try:
        begun = time.monotonic()
        while (found := await runs.get(run_id, caller)).is_live:
            waited = time.monotonic() - begun
            if waited > LONGEST_S:
                raise Refusal(_TIMED_OUT, f"timeout after {LONGEST_S:g}s")
            every = _FAST_EVERY_S if waited < _FAST_FOR_S else _SLOW_EVERY_S
            await asyncio.wait({gone}, timeout=every)
            if gone.done():
                await runs.cancel(run_id, caller, _GONE)
                return Response(b"", status_code=_NOBODY_READS)
        return answer_of(found)
    finally:
        gone.cancel()
        with suppress(asyncio.CancelledError):
            await gone


def answer_of(found: Found) -> Response[Any]:
    """The result as an HTTP answer, which the result itself may describe (Windmill's keys)."""
    value = result(found)
    if found.details.run.state != "succeeded":
        return as_json(value, HTTP_422_UNPROCESSABLE_ENTITY)
    if not (isinstance(value, dict) and value.keys() & {_STATUS, _TYPE, _HEADERS}):
        return as_json(value)
    has_body = "result" in value
    status = _status(value.get(_STATUS), HTTP_200_OK if has_body else HTTP_204_NO_CONTENT)
    kind = _type(value.get(_TYPE))
    headers = value.get(_HEADERS)
    shown: Mapping[Any, Any] = headers if isinstance(headers, dict) else {}
    body = value.get("result")
    content = body.encode(errors="replace") if isinstance(body, str) and kind else msgspec.json.encode(body)
    return Response(
        content if has_body and status not in _WITHOUT_BODY else b"",
        status_code=status,
        media_type=kind or MediaType.JSON,
        headers={str(name): str(each) for name, each in shown.items() if _is_allowed(str(name), str(each))}
        | {"Content-Security-Policy": _ALONE},
    )


def _status(asked: Any, usual: int) -> int:
    is_number = isinstance(asked, int) and not isinstance(asked, bool)
    return int(asked) if is_number and _STATUS_MIN <= asked <= _STATUS_MAX else usual


def _type(asked: Any) -> str:
    """The media type that the code gives, '' where it gives none that can stand in a header."""
    return asked if isinstance(asked, str) and _MEDIA_TYPE.fullmatch(asked) else ""


def _is_allowed(name: str, value: str) -> bool:
    """What a header may hold (RFC 9110 §5.5), and is the code's to say."""
    is_sent = bool(_NAME.fullmatch(name)) and value.isascii() and value.isprintable()
    return is_sent and name.lower() not in _NOT_ITS_OWN and not name.lower().startswith(_NOT_BEGINNING)


async def _until_gone(request: Request[Caller, None, Any]) -> None:
    """Its body has been read: what comes next is the end of the connection."""
    await request.body()
    while (await request.receive())["type"] != "http.disconnect":
        pass
