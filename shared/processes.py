"""The processes that there are, as Redis has heard of them. Reads only."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from shared import asking, keys
from shared.scripts.operate import snapshot
from shared.store import Store

SILENT_MS: Final = 20_000
"""A process that lives is heard of within half of it."""


class Process(msgspec.Struct, frozen=True):
    """A process. `silent`: nothing was heard of it for SILENT_MS; it is dead, or cut off. `doing` says what it has in
    hand: messages, or runs. `idle_ms` None: not known.
    """

    kind: Literal["ingest", "dispatch", "worker"]
    name: str
    state: Literal["alive", "silent"]
    idle_ms: int | None
    doing: int


def list_processes(store: Store) -> list[Process]:
    """Processes by kind and name; those that ended in good order are not among them, or not for long."""
    found = [
        *_consumers(store, "ingest", keys.ASKS, asking.GROUP),
        *_consumers(store, "dispatch", keys.INBOX, keys.GROUP),
    ]
    for worker in sorted(store.run(snapshot()).workers, key=lambda worker: worker.name):
        state: Literal["alive", "silent"] = "alive" if worker.alive else "silent"
        found.append(Process("worker", worker.name, state, None, worker.claimed + worker.started))
    return found


def _consumers(store: Store, kind: Literal["ingest", "dispatch"], stream: str, group: str) -> list[Process]:
    if not store.command("EXISTS", stream):
        return []
    groups = [_fields(each)["name"] for each in store.command("XINFO", "GROUPS", stream)]
    if group.encode() not in groups:
        return []
    consumers = [_fields(each) for each in store.command("XINFO", "CONSUMERS", stream, group)]
    return sorted(
        (
            Process(
                kind,
                each["name"].decode(),
                "alive" if each["idle"] < SILENT_MS else "silent",
                each["idle"],
                each["pending"],
            )
            for each in consumers
        ),
        key=lambda process: process.name,
    )


def _fields(reply: Any) -> dict[str, Any]:
    """However the protocol and the client put them."""
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    return {name.decode() if isinstance(name, bytes) else name: value for name, value in pairs}
