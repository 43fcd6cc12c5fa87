"""Whether a process can do its work: what /readyz answers, and the answers of all three addresses. Pure."""

from __future__ import annotations

import hmac
from collections.abc import Callable

import msgspec

Reasons = Callable[[], list[str]]
"""Why the process cannot do its work at this moment; empty: it can. Called from any thread."""

OK, UNAUTHORIZED, NOT_FOUND, UNAVAILABLE = 200, 401, 404, 503
SILENT_S = 15.0
"""So long a loop may say nothing of itself before it counts as stuck, where nothing shorter is known."""


class Readiness(msgspec.Struct, frozen=True):
    """The body of /readyz."""

    ready: bool
    process: str
    reasons: list[str]


def readiness(process: str, reasons: list[str]) -> tuple[int, bytes]:
    """Status and body (JSON) of /readyz."""
    body = msgspec.json.encode(Readiness(not reasons, process, reasons))
    return UNAVAILABLE if reasons else OK, body


def liveness(process: str) -> bytes:
    """The body of /healthz: who answers, lives."""
    return msgspec.json.encode({"alive": True, "process": process})


def is_authorized(token: str, header: str) -> bool:
    """Whether this Authorization header lets in where `token` is asked for; '': everybody is let in."""
    return not token or hmac.compare_digest(header.encode(), f"Bearer {token}".encode())
