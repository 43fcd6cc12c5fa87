"""Reading the inbox through its consumer group: new entries, our own after a reconnect, those of the dead."""

from __future__ import annotations

from typing import Any

from dispatch.placing import Entry
from shared import keys
from shared.errors import ScriptError
from shared.store import Store

FIRST_READ = 16
"""Entries read at once before their size is known."""
BYTES_PER_READ = 8 * 1024 * 1024


class Inbox:
    """The inbox as one consumer sees it. All methods raise StoreUnavailable.

    What is read stays pending on this consumer until `place` acknowledges it; what was delivered in a lost reply is
    found again with `read_own`.
    """

    def __init__(self, store: Store, consumer: str, most: int) -> None:
        self._store = store
        self._consumer = consumer
        self._most = most
        self._count = min(FIRST_READ, most)

    def ensure_group(self) -> None:
        """The group exists, from the first entry on."""
        try:
            self._store.command("XGROUP", "CREATE", keys.INBOX, keys.GROUP, "0", "MKSTREAM")
        except ScriptError as error:
            if "BUSYGROUP" not in error.message:
                raise

    def read_new(self, block_ms: int) -> list[Entry]:
        """Entries that nobody has yet; waits up to `block_ms` for the first."""
        return self._read(">", block_ms)

    def read_own(self) -> list[Entry]:
        """Entries that were delivered to this consumer and not placed yet."""
        return self._read("0", None)

    def take_over(self, idle_ms: int) -> list[Entry]:
        """Entries that lie with another consumer for longer than `idle_ms`, now on this one."""
        reply = self._store.command(
            "XAUTOCLAIM", keys.INBOX, keys.GROUP, self._consumer, idle_ms, "0-0", "COUNT", self._count
        )
        return _entries(reply[1])

    def _read(self, after: str, block_ms: int | None) -> list[Entry]:
        block = ("BLOCK", block_ms) if block_ms is not None else ()
        reply = self._store.command(
            "XREADGROUP",
            "GROUP",
            keys.GROUP,
            self._consumer,
            "COUNT",
            self._count,
            *block,
            "STREAMS",
            keys.INBOX,
            after,
        )
        entries = _entries(reply[0][1]) if reply else []
        if entries:
            self._adapt(entries)
        return entries

    def _adapt(self, entries: list[Entry]) -> None:
        """Large messages are read a few at a time, so that a batch stays within a few MiB."""
        mean = sum(len(entry.envelope) for entry in entries) / len(entries)
        self._count = max(1, min(self._most, self._count * 4, int(BYTES_PER_READ / max(mean, 1))))


def _entries(rows: Any) -> list[Entry]:
    """An entry that was deleted while pending comes without fields: there is nothing left to place."""
    return [Entry(row[0], row[1].get(b"k", b""), row[1].get(b"e", b"")) for row in rows if row[1]]
