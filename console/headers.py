"""Headers of every answer: what browsers must not do with it."""

from __future__ import annotations

from typing import Final

from litestar.datastructures import MutableScopeHeaders
from litestar.types import Message, Scope

from console.authentication import is_secure
from shared.config import Settings

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
"""Neither script nor style stands in a page itself, and nothing comes from elsewhere."""
_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with no-referrer, browsers send forms with `Origin: null`
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class SecurityHeaders:
    """A hook of the application, called before each message of an answer."""

    def __init__(self, settings: Settings) -> None:
        self._headers = dict(_HEADERS)
        if is_secure(settings):
            self._headers["Strict-Transport-Security"] = "max-age=31536000"

    async def __call__(self, message: Message, _scope: Scope) -> None:
        """Add them. What says nothing of its own is not to be kept by anybody."""
        if message["type"] != "http.response.start":
            return
        headers = MutableScopeHeaders.from_message(message)
        for name, value in self._headers.items():
            headers.setdefault(name, value)
        headers.setdefault("Cache-Control", "no-store")
