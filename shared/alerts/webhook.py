"""Posting a notice to a webhook, in a thread of its own: whatever is at the other end, nobody waits for it.

Python's own HTTP client, with the system's roots and proxies. It follows no redirect, because that would carry a token
in a header to wherever the answer says. What goes wrong is told without address and headers, which may be secrets.
"""

from __future__ import annotations

import http.client
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Final

from shared.workspace.alerts import is_web_address

ANSWER_S: Final = 10.0
"""Longest silence on the connection."""
GIVEN_UP_S: Final = 20.0
"""After so long nobody looks for the answer any more."""
_OK: Final = range(200, 300)


class Posting:
    """A POST that is under way."""

    def __init__(self, url: str, headers: Mapping[str, str], body: bytes) -> None:
        self._error: str | None = None
        self._done = threading.Event()
        self._deadline = time.monotonic() + GIVEN_UP_S
        threading.Thread(target=self._post, args=(url, headers, body), name="webhook", daemon=True).start()

    def over(self) -> bool:
        """Whether it is known what came of it."""
        return self._done.is_set() or time.monotonic() >= self._deadline

    @property
    def error(self) -> str | None:
        """Why it failed; None: it was accepted."""
        return self._error if self._done.is_set() else f"no answer within {GIVEN_UP_S:g} s"

    def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> None:
        self._error = post(url, headers, body)
        self._done.set()


def post(url: str, headers: Mapping[str, str], body: bytes) -> str | None:
    """POST this JSON; what went wrong, None where it was accepted (an answer of 200 to 299). Raises nothing."""
    if not is_web_address(url):
        return "the webhook's url is no http:// or https:// address"
    try:
        sent = {"Content-Type": "application/json", "User-Agent": "headrace", **headers}
        request = urllib.request.Request(url, data=body, headers=sent, method="POST")  # noqa: S310 - checked above
        with _opener().open(request, timeout=ANSWER_S) as answer:
            status = answer.status
    except urllib.error.HTTPError as error:
        with error:
            return f"the webhook answered {error.code}"
    except urllib.error.URLError as error:
        return f"the webhook cannot be reached: {_why(error.reason)}"
    except (OSError, http.client.HTTPException) as error:
        return f"the webhook cannot be reached: {_why(error)}"
    except ValueError:  # its text holds the value
        return "the webhook's url or one of its headers holds what HTTP does not allow, such as a line break"
    return None if status in _OK else f"the webhook answered {status}"


def _opener() -> urllib.request.OpenerDirector:
    """Speaks HTTP and HTTPS and follows nothing."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _why(error: object) -> str:
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or 'failed'}"
    if isinstance(error, TimeoutError):
        return "it does not answer"
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
