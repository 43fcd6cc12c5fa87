"""The HTTP listener of ingest, dispatch and worker: a thread that sleeps until somebody asks.

Each kind of process has a hundred ports of its own, as honcho gives them: the first process of a kind on a machine
takes the first one, the next the next. That none is free, or the address is not this machine's, keeps nobody from
working: it is told, and that is all.
"""

from __future__ import annotations

import errno
import socket
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Final

from shared.config import MetricsSettings
from shared.events import emit
from shared.metrics.catalogue import READY
from shared.metrics.health import NOT_FOUND, OK, UNAUTHORIZED, Reasons, is_authorized, liveness, readiness
from shared.metrics.instruments import Process

PORTS: Final = 100
"""Ports of each kind of process."""
_KINDS: Final[tuple[Process, ...]] = ("ingest", "dispatch", "worker")
_JSON: Final = "application/json"
_REQUEST_S: Final = 10.0
_AGAIN_S: Final = 1.0


def listen(settings: MetricsSettings, process: Process, reasons: Reasons) -> str | None:
    """Serve /metrics, /healthz and /readyz from now on; the address, None where nothing is served. Never raises."""
    READY.read_by(lambda: float(not reasons()))
    if not settings.port:
        return None
    first = settings.port + PORTS * _KINDS.index(process)
    for port in range(first, first + PORTS):
        try:
            server = _Server(settings, port, process, reasons)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue
            why = error.strerror or str(error)
            break
        Thread(target=server.serve, name="metrics", daemon=True).start()
        return settings.url(port)
    else:
        why = f"all ports from {first} to {first + PORTS - 1} are in use"
    fix = "choose others with HEADRACE_METRICS__HOST and HEADRACE_METRICS__PORT; port 0 turns metrics off"
    emit("metrics.unavailable", process=process, reason=why, fix=fix)
    return None


class _Server(ThreadingHTTPServer):
    """A thread for each request, so that a slow client holds up nobody. It keeps no process alive."""

    daemon_threads = True

    def __init__(self, settings: MetricsSettings, port: int, process: Process, reasons: Reasons) -> None:
        self.address_family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        self.token = settings.token
        self.process = process
        self.reasons = reasons
        super().__init__((settings.host, port), _Handler)

    def server_bind(self) -> None:
        """As that of TCPServer: that of HTTPServer asks for the host's name, which may take seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)

    def serve(self) -> None:
        """For ever, without waking up in between."""
        while True:
            self.handle_request()

    def get_request(self) -> tuple[socket.socket, Any]:
        """As that of TCPServer; where the process has no descriptor left, not again and again."""
        try:
            return super().get_request()
        except OSError:
            time.sleep(_AGAIN_S)
            raise

    def handle_error(self, _request: object, _address: object) -> None:
        """A client that has gone is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _REQUEST_S
    server_version = "headrace"
    sys_version = ""

    def do_GET(self) -> None:
        """One of three addresses."""
        from shared.metrics.exposition import render  # noqa: PLC0415 - a process that nobody asks does without it

        process, reasons = self.server.process, self.server.reasons
        match self.path.partition("?")[0]:
            case "/metrics" if not is_authorized(self.server.token, self.headers.get("Authorization", "")):
                self._answer(UNAUTHORIZED, b"a token is needed, as Authorization: Bearer ...\n", "text/plain")
            case "/metrics":
                self._answer(OK, *render(process, [], self.headers.get("Accept", "")))
            case "/healthz":
                self._answer(OK, liveness(process), _JSON)
            case "/readyz":
                self._answer(*readiness(process, reasons()), _JSON)
            case _:
                self._answer(NOT_FOUND, b"there are /metrics, /healthz and /readyz\n", "text/plain")

    def do_HEAD(self) -> None:
        """The same without its body."""
        self.do_GET()

    def log_message(self, *_arguments: object) -> None:
        """Who asks is no event."""

    def _answer(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
