"""The thread in which a process looks after alerts, if no other one does.

Every process has it, because any of them may be what is missing: whichever lives takes the lease, and what one has told
the next one knows. It has a connection of its own and waits for nothing but Redis, so that it holds up nobody.
While Redis is away nothing can be found, and nobody is told: that has to be watched from outside.
"""

from __future__ import annotations

import secrets
import threading
from contextlib import suppress
from typing import Final

from shared.alerts.decide import decide
from shared.alerts.deliver import Delivery
from shared.alerts.findings import findings
from shared.alerts.model import NOTICES_KEPT, Notice, encode
from shared.alerts.state import Reader, read_memory
from shared.config import Settings
from shared.errors import HeadraceError
from shared.events import emit
from shared.scripts.alerts import ROLE, alerts_record
from shared.scripts.outgoing import role_hold, role_release
from shared.secrets import SecretBox
from shared.store import Store

LEASE_MS: Final = 15_000
DELIVER_EVERY_S: Final = 0.5
STEP_ASIDE_S: Final = 60.0
"""Who lacks the key of a secret lets others try for so long."""
_PARTING_S: Final = 2.0


class Watch:
    """Looks after alerts from `start` to `stop`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._every_s = settings.alerts.every_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)

    def start(self) -> Watch:
        """Returns at once."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Leave it to another process. Waits for a moment."""
        self._stopping.set()
        self._thread.join(_PARTING_S)

    def _run(self) -> None:
        name = secrets.token_hex(6)
        store = Store.connect(self._settings.redis_url)
        watcher = Watcher(store, name, self._settings)
        wait_s = 0.0
        while not self._stopping.wait(wait_s):
            try:
                wait_s = watcher.step()
            except HeadraceError:  # Redis is away, which the process itself reports
                wait_s = self._every_s
        with suppress(HeadraceError):
            store.run(role_release(ROLE, name))
        store.close()


class Watcher:
    """One process' share."""

    def __init__(self, store: Store, name: str, settings: Settings) -> None:
        self._store = store
        self._name = name
        self._every_s = settings.alerts.every_s
        box = SecretBox.load(settings, create=False)
        self._delivery = Delivery(store, box, settings.workspace, settings.worker.default_timeout_s)
        self._reader = Reader(store)
        self._due_ms = 0

    def step(self) -> float:
        """Look, decide, tell; seconds until the next one. Raises StoreUnavailable."""
        if self._delivery.lacks_key:
            self._delivery.lacks_key = False
            self._store.run(role_release(ROLE, self._name))
            return STEP_ASIDE_S
        if not self._store.run(role_hold(ROLE, self._name, LEASE_MS)):
            return self._every_s
        self._reader.follow()
        seconds, micros = self._store.command("TIME")
        now_ms = int(seconds) * 1000 + int(micros) // 1000
        if now_ms >= self._due_ms:
            self._due_ms = now_ms + round(self._every_s * 1000)
            self._look()
        notices = read_memory(self._store).notices
        self._delivery.step(notices, self._reader.alerts, self._reader.deployed, now_ms)
        busy = self._delivery.under_way or any(notice.waits for notice in notices)
        return min(DELIVER_EVERY_S, self._every_s) if busy else self._every_s

    def _look(self) -> None:
        seen, alerts, memory = self._reader.seen(), self._reader.alerts, read_memory(self._store)
        now_ms = seen.snapshot.now_us // 1000
        decided = decide(memory.records, findings(seen, alerts), memory.dead, alerts, now_ms)
        if decided.records == memory.records and not decided.notices:
            return
        records = {key: encode(record) for key, record in decided.records.items()}
        notices = {notice.id: encode(notice) for notice in decided.notices}
        if self._store.run(alerts_record(self._name, records, notices, NOTICES_KEPT)):
            for notice in decided.notices:
                _report(notice)


def _report(notice: Notice) -> None:
    if notice.status == "resolved":
        emit("alert.resolved", alert=notice.id, kind=notice.kind, what=notice.what)
    else:
        emit("alert.raised", alert=notice.id, kind=notice.kind, what=notice.what, fix=notice.fix)
