"""What is made right before a request is looked at: HEAD is answered as GET is, and no body at all is an empty one."""

from __future__ import annotations

from typing import Any

from litestar.types import ASGIApp, Receive, Scope, Send

from console.errors import is_ours

_EMPTY = b"{}"
_START, _BODY = "http.response.start", "http.response.body"
_GONE = {"type": "http.disconnect"}
_JSON = (b"content-type", b"application/json")


class Leniency:
    """Around an application.

    - HEAD (RFC 9110 §9.3.2): as GET; the server leaves the body out, and what would stream is told that nobody reads.
    - A POST to our API without a body is one with `{}`: where nothing is required, nothing has to be sent.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        asked: Any = scope
        if asked["type"] == "http" and asked["method"] == "HEAD":
            await self._head(asked, receive, send)
        elif asked["type"] == "http" and asked["method"] == "POST" and is_ours(asked["path"]) and _is_bare(asked):
            await self._app(asked | {"headers": [*asked["headers"], _JSON]}, _given(_EMPTY, receive), send)
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


def _is_bare(asked: Any) -> bool:
    headers = dict(asked["headers"])
    return headers.get(b"content-length", b"0") == b"0" and b"transfer-encoding" not in headers


def _given(body: bytes, receive: Receive) -> Receive:
    """Gives this body, then what there is."""
    is_given = False

    async def give() -> Any:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return give
