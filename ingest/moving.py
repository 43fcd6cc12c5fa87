"""A trigger was sent to another broker: what its session's record is then worth, and what stays behind."""

from __future__ import annotations

import time

import msgspec

from ingest.assignment import Assignment
from ingest.session_events import SessionRecord
from shared.definitions import Broker
from shared.deployment import definition_command, read_definition
from shared.left import Left, address_of, encode_left
from shared.scripts.ingest import LeftBehind, SessionReply
from shared.store import AsyncStore


async def found_at(store: AsyncStore, record: SessionRecord, opened: SessionReply, now: Assignment) -> SessionRecord:
    """The record as it is for the broker that is to be connected to now. Raises StoreUnavailable, InternalError."""
    if not opened.broker or opened.broker == now.broker_version:
        return record
    home = read_definition(await store.command(*definition_command(opened.broker)), Broker)
    return moved(record, opened, home, now, time.time_ns() // 1_000_000)


def moved(
    record: SessionRecord, opened: SessionReply, home: Broker | None, now: Assignment, now_ms: int
) -> SessionRecord:
    """The same at another address: it says what is left at `home`, if this broker turns out to have no session of ours.

    If it has one, it is the same broker under another name, and the session goes on; only that nothing was missed in
    between is not certain.
    """
    if home is not None and address_of(home) == address_of(now.broker):
        return record
    trigger = now.trigger
    left = None
    if home is not None and record.subscriptions is not None and record.subscriptions.lasting and now.wish is None:
        version = opened.version or now.version
        entry = Left(trigger.path, version, opened.broker, trigger.client_id, record.epoch, "broker", now_ms)
        left = LeftBehind(f"{trigger.session}_{record.epoch}", encode_left(entry))
    return msgspec.structs.replace(record, moved=True, left=left)
