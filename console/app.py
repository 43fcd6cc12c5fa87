"""Puts the console process together, and serves until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
import uvloop
from litestar.types import ASGIApp

from console.blocking import Blocking
from console.door import first_link, wait_for_tokens
from console.heads import AnsweringHead
from console.live import Live
from console.memory import keep_small
from console.sampling import take_samples
from console.web import Tools, make_app
from console.workspace import Workspace
from shared import run_tokens
from shared.alerts.watch import Watch
from shared.config import ConsoleSettings, Settings
from shared.config_keys import is_loopback, public_url
from shared.errors import HeadraceError
from shared.events import emit
from shared.metrics.loop_lag import watch_lag
from shared.secrets import SecretBox
from shared.store import AsyncStore
from shared.tracing import spans

DRAIN_S = 10
KEEP_ALIVE_S = 75
"""Clients that ask now and then need not connect anew each time."""
BACKLOG = 512
CONNECTIONS_MAX = 1000
"""More than that are answered with 503."""


def run_console(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT, then answer what is under way; a second one ends the process at once.

    Returns the exit status. Raises ConfigError for an address that others reach while there are no tokens, and
    HeadraceError for one that cannot be listened on.
    """
    if not is_loopback(settings.console.host):
        wait_for_tokens(settings)
    keep_small()
    listener = _listen(settings.console)
    spans.turn_on("console")
    alerts = Watch(settings).start()
    try:
        uvloop.run(_serve(settings, listener))
    finally:
        alerts.stop()
        spans.turn_off()
    return 0


async def _serve(settings: Settings, listener: socket.socket) -> None:
    box = SecretBox.load(settings, create=True)
    store, work = AsyncStore.connect(settings.redis_url), Blocking(settings.redis_url)
    live = Live(work, settings)
    try:
        tools = Tools(store, work, Workspace(store, work, settings, box), live)
        app = make_app(tools, settings, box.derive(run_tokens.PURPOSE))
        server = _Server(app, settings, await first_link(store, settings))
        _stop_on_signals(server, live)
        beside = [asyncio.create_task(each) for each in (take_samples(work, settings), watch_lag())]
        await server.serve([listener])
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
    finally:
        live.close()
        work.close()
        await store.close()
    emit("process.stopped", process="console")


class _Server(uvicorn.Server):
    """Uvicorn without its own signal handlers and log."""

    def __init__(self, app: ASGIApp, settings: Settings, login: str) -> None:
        config = uvicorn.Config(
            AnsweringHead(app),
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            ws="none",
            limit_concurrency=CONNECTIONS_MAX,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=DRAIN_S,
        )
        super().__init__(config)
        self._settings = settings
        self._login = login

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As Uvicorn's; says that the process is ready."""
        await super().startup(sockets)
        redis, url = public_url(self._settings.redis_url), self._settings.console.url
        emit("process.ready", process="console", url=url, login=self._login, redis=redis)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are ours."""
        yield


def _listen(settings: ConsoleSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise HeadraceError(
            f"the console cannot listen on {settings.host} port {settings.port}: {error.strerror}",
            hint="end what listens there, or choose another port with HEADRACE_CONSOLE__PORT",
        ) from error
    listener.listen(BACKLOG)
    return listener


def _stop_on_signals(server: _Server, live: Live) -> None:
    def on_signal(number: signal.Signals) -> None:
        if server.should_exit:
            os._exit(128 + number)
        emit("process.stopping", process="console", reason=number.name)
        server.should_exit = True
        live.close()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
