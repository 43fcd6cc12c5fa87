"""Reading the inbox through its consumer group: new entries, our own after a reconnect, those of the dead."""

from __future__ import annotations

from typing import Any

from dispatch.placing import Entry
from shared import keys
from shared.errors import ScriptError
from shared.scripts.call import Arg
from shared.scripts.dispatch import read_inbox
from shared.store import Store

FEW = 16
"""Entries read at once while their size is not known: each may be as large as `max_payload`."""
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
        self._few = min(FEW, most)
        self._behind = False

    def ensure_group(self) -> None:
        """The group exists, from the first entry on."""
        try:
            self._store.command("XGROUP", "CREATE", keys.INBOX, keys.GROUP, "0", "MKSTREAM")
        except ScriptError as error:
            if "BUSYGROUP" not in error.message:
                raise

    def read_new(self, block_ms: int) -> list[Entry]:
        """Entries that nobody has yet; waits up to `block_ms` for the first.

        A few when there was nothing before; with a backlog as many as a batch may hold, in entries and in bytes.
        """
        if self._behind:
            entries = _entries(
                self._store.run(read_inbox(self._consumer, self._most, BYTES_PER_READ, self._few)),
            )
            self._behind = len(entries) >= self._few
            if entries:
                return entries
        entries = self._read(">", ("BLOCK", block_ms))
        self._behind = len(entries) >= self._few
        return entries

    def read_own(self) -> list[Entry]:
        """Some entries that were delivered to this consumer and not placed yet."""
        return self._read("0", ())

    def take_over(self, idle_ms: int) -> list[Entry]:
        """Some entries that lie with another consumer for longer than `idle_ms`, now on this one."""
        reply = self._store.command(
            "XAUTOCLAIM", keys.INBOX, keys.GROUP, self._consumer, idle_ms, "0-0", "COUNT", self._few
        )
        return _entries(reply[1])

    def _read(self, after: str, block: tuple[Arg, ...]) -> list[Entry]:
        reply = self._store.command(
            "XREADGROUP", "GROUP", keys.GROUP, self._consumer, "COUNT", self._few, *block, "STREAMS", keys.INBOX, after
        )
        return _entries(reply[0][1]) if reply else []


def _entries(rows: Any) -> list[Entry]:
    """An entry that was deleted while pending comes without fields: there is nothing left to place."""
    return [_entry(row[0], row[1]) for row in rows if row[1]]


def _entry(stream_id: bytes, fields: Any) -> Entry:
    """Fields come as a table from the client, in a row from a verb."""
    found = fields if isinstance(fields, dict) else dict(zip(fields[::2], fields[1::2], strict=True))
    return Entry(stream_id, found.get(b"k", b""), found.get(b"e", b""))
