"""Puts the dispatch process together."""

from __future__ import annotations

import os
import secrets
import signal
import socket
from types import FrameType

from dispatch.dispatcher import Dispatcher
from shared.alerts.watch import Watch
from shared.config import Settings
from shared.config_keys import public_url
from shared.errors import HeadraceError
from shared.events import emit
from shared.metrics.listener import listen
from shared.store import Store
from shared.tracing import spans


def run_dispatch(settings: Settings) -> int:
    """Dispatch until SIGTERM or SIGINT; a second one ends the process at once. Returns the exit status."""
    stop = _StopSignal()
    consumer = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
    store = Store.connect(settings.redis_url)
    alerts = Watch(settings).start()
    redis = public_url(settings.redis_url)
    spans.turn_on("dispatch")
    try:
        dispatcher = Dispatcher(store, consumer, settings, stop.requested)
        url = listen(settings.metrics, "dispatch", dispatcher.not_ready)
        dispatcher.run(lambda: emit("process.ready", process="dispatch", name=consumer, url=url, redis=redis))
    except HeadraceError as error:
        emit("process.failed", process="dispatch", error=error)
        return error.exit_status
    finally:
        alerts.stop()
        store.close()
        spans.turn_off()
    emit("process.stopped", process="dispatch")
    return 0


class _StopSignal:
    def __init__(self) -> None:
        self._requested = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def requested(self) -> bool:
        return self._requested

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._requested = True
        emit("process.stopping", process="dispatch", reason=signal.Signals(number).name)
        signal.signal(number, signal.SIG_DFL)
