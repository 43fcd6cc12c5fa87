"""HEAD is answered as GET is (RFC 9110 §9.3.2)."""

from __future__ import annotations

from typing import Any

from litestar.types import ASGIApp, Receive, Scope, Send

_START, _BODY = "http.response.start", "http.response.body"
_GONE = {"type": "http.disconnect"}


class AnsweringHead:
    """Around an application: the server leaves the body out, and what would stream is told that nobody reads."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        asked: Any = scope
        if asked["type"] == "http" and asked["method"] == "HEAD":
            await self._head(asked, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _head(self, asked: Any, receive: Receive, send: Send) -> None:
        has_begun = has_ended = False

        async def told() -> Any:
            return _GONE if has_begun else await receive()

        async def tell(message: Any) -> None:
            nonlocal has_begun, has_ended
            has_begun = has_begun or message["type"] == _START
            has_ended = message["type"] == _BODY and not message.get("more_body", False)
            await send(message)

        await self._app(asked | {"method": "GET"}, told, tell)
        if has_begun and not has_ended:  # a stream, which was told that nobody reads
            end: Any = {"type": _BODY, "body": b"", "more_body": False}
            await send(end)
