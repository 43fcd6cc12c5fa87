"""A web server on a free port that keeps what is posted to it, and answers as it is told."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import msgspec


class Posted(msgspec.Struct, frozen=True):
    """One request."""

    path: str
    headers: dict[str, str]
    body: Any


class WebhookServer:
    """`answer` is the status of each answer from now on; None: it never answers. `location`: where a 3xx leads."""

    def __init__(self) -> None:
        self.answer: int | None = 200
        self.location = ""
        self.posted: list[Posted] = []
        self._closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def of(self, kind: str) -> list[Any]:
        """The bodies that tell of this kind."""
        return [each.body for each in self.posted if each.body["kind"] == kind]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.posted.append(Posted(self.path, dict(self.headers), json.loads(body)))
                if outer.answer is None:
                    outer._closing.wait()
                    return
                self.send_response(outer.answer)
                if outer.location:
                    self.send_header("Location", outer.location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_args: Any) -> None:
                """Nothing."""

        return Handler
