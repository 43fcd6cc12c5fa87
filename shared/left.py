"""Sessions that triggers leave behind at their brokers, and that nobody holds any more.

A broker keeps a session, and what waits in it, under the client id for as long as the session may last. When a
deployment deletes or disables a trigger or gives it another client id, or when a trigger goes to another broker, its
session is put on record here, until somebody has it drained or ended, or the trigger takes it up again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from shared import keys
from shared.definitions import Broker, Trigger
from shared.deployment import read_all
from shared.errors import InternalError
from shared.scripts.call import Arg
from shared.store import Store

Why = Literal["deleted", "disabled", "client id", "broker"]
Wish = Literal["drain", "end"]

WEEK_S = 7 * 24 * 3600
"""Session expiry where a trigger names none and has a topic of QoS 1 or 2."""
FOR_EVER_S = 0xFFFFFFFF
"""The session expiry interval that means: never (MQTT 5 §3.1.2.11.2)."""


class Left(msgspec.Struct, frozen=True, omit_defaults=True):
    """A session left behind: whose it was, and why, since when (epoch ms) it is nobody's.

    `trigger_version` routes what is drained; `broker_version` is where the session is, unless the session's own record
    says it. `wish` is what ingest is to do with it; `admitted` how many messages had been admitted when it was made.
    `variables` are the versions, by path, of those that the broker named: they may be deleted by the same deployment.
    """

    trigger: str
    trigger_version: str
    broker_version: str
    client_id: str
    epoch: int
    why: Why
    at: int
    wish: Wish | None = None
    admitted: int = 0
    variables: dict[str, str] = {}


class LeftEntry(msgspec.Struct, frozen=True):
    """A record with its bytes in Redis (which a change is conditional on), and the broker where the session is.

    `broker` None: its definition is not there.
    """

    left: Left
    blob: bytes
    broker: Broker | None


LEFT: tuple[Arg, ...] = ("HGETALL", keys.LEFT)


def encode_left(left: Left) -> bytes:
    """JSON, as Redis keeps it."""
    return msgspec.json.encode(left)


def decode_left(blob: bytes) -> Left:
    """Read it back. Raises InternalError."""
    try:
        return msgspec.json.decode(blob, type=Left)
    except msgspec.DecodeError as error:
        raise InternalError(f"the record of a session that was left behind cannot be read: {error}") from error


def read_left(store: Store) -> dict[str, LeftEntry]:
    """All records, by session id. Raises StoreUnavailable, InternalError."""
    blobs: dict[bytes, bytes] = store.command(*LEFT)
    records = {name.decode(): (decode_left(blob), blob) for name, blob in sorted(blobs.items())}
    homes = read_homes(store, {session: left.broker_version for session, (left, _) in records.items()})
    return {session: LeftEntry(left, blob, homes.get(session)) for session, (left, blob) in records.items()}


def read_homes(store: Store, fallback: Mapping[str, str]) -> dict[str, Broker]:
    """Where sessions are: session id → the broker that last accepted it. `fallback`: versions for those unknown."""
    known = store.commands([("HGET", keys.session(session), "broker") for session in fallback])
    versions = {
        session: own.decode() if own else version
        for (session, version), own in zip(fallback.items(), known, strict=True)
    }
    return read_all(store, {session: version for session, version in versions.items() if version}, Broker)


def address_of(broker: Broker) -> tuple[str, int]:
    """What tells brokers apart: credentials and certificates may change, the broker stays the same."""
    return broker.host.lower(), broker.port


def expiry_s(trigger: Trigger) -> int:
    """Seconds for which the trigger's broker is asked to keep the session of a lost connection, on MQTT 5."""
    if trigger.session_expiry_interval is not None:
        return trigger.session_expiry_interval
    return WEEK_S if any(topic.qos for topic in trigger.topics) else 0


def lasts(trigger: Trigger) -> bool:
    """Whether the trigger's session outlives its connection, so that messages may wait in it."""
    if trigger.client_version == "v3":
        return trigger.clean_start is False or (trigger.clean_start is None and expiry_s(trigger) > 0)
    return expiry_s(trigger) > 0
