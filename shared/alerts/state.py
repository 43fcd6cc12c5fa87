"""What alerts need of Redis: what is wrong now, what is remembered, what is to be told."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from shared import keys
from shared.alerts.findings import Seen
from shared.alerts.model import Notice, Record, decode_notice, decode_record
from shared.definitions import File, Trigger
from shared.deployment import NUMBER, TABLE, Deployed, read_all, read_deployed, read_number
from shared.durability import Durability, read_durability
from shared.errors import ScriptError
from shared.scripts.operate import snapshot
from shared.store import Store
from shared.workspace.alerts import Alerts
from shared.workspace.layout import DEFAULTS

DURABILITY_EVERY_MS: Final = 60_000


class Memory(msgspec.Struct, frozen=True):
    """What was remembered, what is told, and how many dead letters each trigger has ever had."""

    records: dict[str, Record]
    notices: list[Notice]
    dead: dict[str, int]


class Reader:
    """Reads for one process; keeps what changes with a deployment only, or seldom. All raise StoreUnavailable."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._number = -1
        self._durability = Durability("unknown", [])
        self._durability_at: int | None = None
        self.deployed = Deployed(0, {})
        self.triggers: dict[str, Trigger] = {}
        self.alerts = Alerts()

    def follow(self) -> None:
        """Know what is deployed now."""
        if read_number(self._store.command(*NUMBER)) == self._number:
            return
        deployed = read_deployed(*self._store.commands([NUMBER, TABLE]))
        self.triggers = read_all(self._store, deployed.of_kind("trigger"), Trigger)
        self.alerts = read_settings(self._store, deployed)
        self.deployed, self._number = deployed, deployed.number

    def seen(self) -> Seen:
        """What is wrong or right at this moment."""
        found = self._store.run(snapshot())
        now_ms = found.now_us // 1000
        if self._durability_at is None or now_ms - self._durability_at >= DURABILITY_EVERY_MS:
            self._durability, self._durability_at = read_durability(self._store), now_ms
        suspended, scheduled = self._store.commands(
            [("EXISTS", keys.RQ_SUSPENDED), ("ZCOUNT", keys.RQ_SCHEDULED, "-inf", now_ms / 1000)]
        )
        idle_ms = self._dispatch_idle_ms() if found.inbox else None
        return Seen(found, self.triggers, self._durability, idle_ms, scheduled, suspended == 1)

    def _dispatch_idle_ms(self) -> int | None:
        """For how long none of the consumers has asked for messages."""
        try:
            consumers = self._store.command("XINFO", "CONSUMERS", keys.INBOX, keys.GROUP)
        except ScriptError:  # no inbox, or no group
            return None
        return min((int(_fields(each)["idle"]) for each in consumers), default=None)


def read_memory(store: Store) -> Memory:
    """What Redis holds."""
    records, notices, dead = store.commands(
        [("HGETALL", keys.ALERTS), ("HGETALL", keys.ALERTS_NOTICES), ("HGETALL", keys.DEAD_MADE)]
    )
    kept = {key.decode(): decode_record(blob) for key, blob in _pairs(records)}
    told = [decode_notice(blob) for _, blob in _pairs(notices)]
    return Memory(
        {key: record for key, record in kept.items() if record is not None},
        sorted((notice for notice in told if notice is not None), key=lambda notice: notice.at_ms),
        {trigger.decode(): int(count) for trigger, count in _pairs(dead)},
    )


def read_active(store: Store) -> list[Record]:
    """What is wrong now, the oldest first. Raises StoreUnavailable."""
    records = (decode_record(blob) for _, blob in _pairs(store.command("HGETALL", keys.ALERTS)))
    return sorted((each for each in records if each is not None and each.is_active), key=lambda each: each.since_ms)


def read_settings(store: Store, deployed: Deployed) -> Alerts:
    """What the deployed `headrace.yaml` says; where it says nothing, nobody is told."""
    from shared.workspace.defaults import read_defaults  # noqa: PLC0415 - YAML, only where there is such a file
    from shared.workspace.problems import Problems  # noqa: PLC0415

    files = deployed.of_kind("file")
    if DEFAULTS not in files:
        return Alerts()
    texts = [file.text for file in read_all(store, {DEFAULTS: files[DEFAULTS]}, File).values()]
    entry = read_defaults("".join(texts), Problems()).alerts
    return Alerts() if entry is None else entry.alerts


def _pairs(reply: Any) -> list[tuple[bytes, bytes]]:
    """HGETALL, which the client may have made a dict of."""
    return list(reply.items()) if isinstance(reply, dict) else list(zip(reply[::2], reply[1::2], strict=True))


def _fields(row: Any) -> dict[str, Any]:
    pairs = row.items() if isinstance(row, dict) else zip(row[::2], row[1::2], strict=True)
    return {name if isinstance(name, str) else name.decode(): value for name, value in pairs}
