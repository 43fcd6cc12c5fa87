"""Puts the ingest process together, and takes it apart again on SIGTERM and SIGINT."""

from __future__ import annotations

import asyncio
import os
import signal

import uvloop

from ingest.asked import Asked
from ingest.keeper import Tools
from ingest.leases import Leases, new_holder
from ingest.service import Service
from ingest.store_watch import StoreWatch
from shared.alerts.watch import Watch
from shared.config import Settings
from shared.durability import CONFIG_COMMAND, Durability, judge, read_config
from shared.errors import HeadraceError, StoreUnavailable
from shared.events import emit
from shared.metrics.catalogue import SESSIONS_HELD
from shared.metrics.listener import listen
from shared.metrics.loop_lag import watch_lag
from shared.store import AsyncStore
from shared.tracing import spans

_RETRY_S = 0.5
_FIX = "set appendonly yes, appendfsync always and maxmemory-policy noeviction"


def run_ingest(settings: Settings) -> int:
    """Ingest until SIGTERM or SIGINT, then finish what is under way; a second one ends the process at once.

    Returns the exit status.
    """
    spans.turn_on("ingest")
    alerts = Watch(settings).start()
    try:
        uvloop.run(_run(settings))
    finally:
        alerts.stop()
        spans.turn_off()
    return 0


async def _run(settings: Settings) -> None:
    stop = asyncio.Event()
    _stop_on_signals(stop)
    process = new_holder()
    store = AsyncStore.connect(settings.redis_url)
    watch = StoreWatch(settings.redis_url)
    tools = Tools(store, watch, Leases(store, process, settings.ingest.lease_ttl_ms), settings)
    service = Service(tools)
    SESSIONS_HELD.read_by(lambda: len(tools.leases.held))
    url = listen(settings.metrics, "ingest", service.not_ready)
    try:
        beside = [
            asyncio.create_task(_announce(store, watch, process, url)),
            asyncio.create_task(watch_lag()),
            asyncio.create_task(Asked(settings, process).run()),
        ]
        beside[-1].add_done_callback(_report)
        await service.run(stop)
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
    finally:
        await store.close()
    emit("process.stopped", process="ingest")


async def _announce(store: AsyncStore, watch: StoreWatch, process: str, url: str | None) -> None:
    """Say that the process is ready once Redis has answered, and how well Redis keeps what it is given."""
    while True:
        try:
            await store.command("PING")
            break
        except StoreUnavailable as error:
            watch.failed(error)
            await asyncio.sleep(_RETRY_S)
    try:
        durability = judge(read_config(await store.command(*CONFIG_COMMAND)))
    except HeadraceError as error:
        durability = Durability("unknown", [error.message])
    if durability.level == "reduced":
        emit("durability.reduced", what="; ".join(durability.reasons), fix=_FIX, redis=watch.url)
    emit("process.ready", process="ingest", name=process, url=url, redis=watch.url, durability=durability.level)


def _report(ended: asyncio.Task[None]) -> None:
    """What people ask beside the sessions does not end the process, whatever happens to it."""
    if not ended.cancelled() and (error := ended.exception()) is not None:
        emit("library.error", logger="ingest", text="tests and captures are not served any more", error=error)


def _stop_on_signals(stop: asyncio.Event) -> None:
    def on_signal(number: signal.Signals) -> None:
        if stop.is_set():
            os._exit(128 + number)
        emit("process.stopping", process="ingest", reason=number.name)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
