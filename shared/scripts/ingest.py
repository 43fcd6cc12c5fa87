"""The verbs of ingest: leases, sessions, admission. All but `lease_acquire` are refused under an old fencing token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from shared import keys
from shared.errors import CallGap, LeaseLost
from shared.scripts.call import Arg, Call

FENCED = -1
GAP = -2
_NOT_LEFT = -3


class LeaseReply(msgspec.Struct, frozen=True):
    """`token` is 0 when another process (`holder`) has the lease."""

    token: int
    holder: str


class SessionReply(msgspec.Struct, frozen=True):
    """What Redis holds of a session. `epoch` 0: it has never been connected. `subscriptions`: JSON, or empty.

    `broker` is the version of the broker that has the session, `version` that of the trigger which subscribed there;
    both may be empty.
    """

    connection: int
    epoch: int
    protocol: int
    subscriptions: str
    inflight: dict[int, bytes]
    broker: str = ""
    version: str = ""


class LeftBehind(msgspec.Struct, frozen=True):
    """A session at another broker, which goes on record under an id of its own. `record` is its JSON."""

    session: str
    record: bytes


class Admission(msgspec.Struct):
    """What one batch of received packets comes to. `packet_ids`: (id, packed digests); empty bytes forget the id."""

    received: int = 0
    duplicate: int = 0
    invalid: int = 0
    oversized: int = 0
    retained_skipped: int = 0
    own: int = 0
    packet_ids: list[tuple[int, bytes]] = []
    dead_letters: list[bytes] = []
    envelopes: list[bytes] = []


def lease_acquire(session_id: str, holder: str, ttl_ms: int) -> Call[LeaseReply]:
    """Take the session's lease if nobody holds it."""
    return Call(
        "lease_acquire",
        [keys.lease(session_id), keys.session(session_id), keys.SESSIONS],
        [holder, ttl_ms, session_id],
        lambda reply: LeaseReply(reply[0], reply[1].decode()),
    )


def lease_renew(session_id: str, token: int, holder: str, ttl_ms: int) -> Call[bool]:
    """False: the lease is lost, somebody else has taken it."""
    return Call(
        "lease_renew",
        [keys.lease(session_id), keys.session(session_id)],
        [token, holder, ttl_ms],
        lambda reply: reply == 1,
    )


def lease_release(session_id: str, token: int) -> Call[bool]:
    """Give the lease back; False if it was not ours any more."""
    return Call("lease_release", [keys.lease(session_id), keys.session(session_id)], [token], lambda reply: reply == 1)


def session_open(session_id: str, token: int, trigger: str, client_id: str, deployment: int = 0) -> Call[SessionReply]:
    """Number a new connection and read back the session. Raises LeaseLost.

    So it does for a session that was ended under this `deployment` or a later one: a process that has not heard of that
    yet must not begin a session which nobody would know of.
    """

    def decode(reply: list[Any]) -> SessionReply:
        _unfenced(reply[0], session_id)
        flat = reply[5]
        inflight = {int(flat[i]): flat[i + 1] for i in range(0, len(flat), 2)}
        return SessionReply(
            reply[0], reply[1], reply[2], reply[3].decode(), inflight, reply[6].decode(), reply[7].decode()
        )

    return Call(
        "session_open",
        [keys.session(session_id), keys.inflight(session_id), keys.INBOX],
        [token, trigger, client_id, keys.GROUP, deployment],
        decode,
    )


def session_epoch(
    session_id: str, token: int, call: int, protocol: int, broker: str = "", left: LeftBehind | None = None
) -> Call[int]:
    """Begin an epoch (this broker has no session of ours); `left` is what another one may have. Raises LeaseLost."""
    other = left.session if left else session_id
    return Call(
        "session_epoch",
        [
            keys.session(session_id),
            keys.inflight(session_id),
            keys.LEFT,
            keys.SESSIONS,
            keys.session(other),
            keys.inflight(other),
        ],
        [token, call, protocol, broker, left.session if left else "", left.record if left else b""],
        lambda reply: _unfenced(reply, session_id),
    )


def session_end(session_id: str, token: int | None) -> Call[int | None]:
    """Remove a session that was left behind; how many messages were admitted since that was asked for.

    None: it is not on record (any more): a trigger has taken it up, or it was removed. `token` None is for a person,
    who ends what others hold. May be repeated. Raises LeaseLost.
    """

    def decode(reply: int) -> int | None:
        return None if reply == _NOT_LEFT else _unfenced(reply, session_id)

    return Call(
        "session_end",
        [
            keys.session(session_id),
            keys.inflight(session_id),
            keys.lease(session_id),
            keys.SESSIONS,
            keys.LEFT,
            keys.DEPLOYMENT,
        ],
        ["" if token is None else token, session_id],
        decode,
    )


def session_subscribed(session_id: str, token: int, call: int, granted_json: str) -> Call[int]:
    """Store what SUBACK granted. Raises LeaseLost."""
    return Call(
        "session_subscribed",
        [keys.session(session_id)],
        [token, call, granted_json],
        lambda reply: _unfenced(reply, session_id),
    )


def session_report(session_id: str, token: int, fields: dict[str, Arg]) -> Call[int]:
    """Store what status and console show of the session. Raises LeaseLost."""
    flat: list[Arg] = [token]
    for name, value in fields.items():
        flat += (name, value)
    return Call("session_report", [keys.session(session_id)], flat, lambda reply: _unfenced(reply, session_id))


def admit(
    session_id: str, token: int, call: int, trigger: str, now_ms: int, dead_max: int, batch: Admission
) -> Call[int]:
    """Admit a batch, in one step; the reply is the length of the inbox. Raises LeaseLost.

    Idempotent by (token, call): a repeat after a lost reply changes nothing. Call numbers of a token grow.
    """
    args: list[Arg] = [token, call, session_id, trigger, now_ms, dead_max]
    args += (batch.received, batch.duplicate, batch.invalid, batch.oversized, batch.retained_skipped, batch.own)
    args += (len(batch.packet_ids), len(batch.dead_letters))
    for packet_id, packed in batch.packet_ids:
        args += (packet_id, packed)
    args += batch.dead_letters
    args += batch.envelopes

    def decode(reply: Sequence[int]) -> int:
        _unfenced(reply[0], session_id)
        return reply[1]

    return Call(
        "admit",
        [keys.session(session_id), keys.inflight(session_id), keys.INBOX, keys.DEAD, keys.DEAD_LETTERS],
        args,
        decode,
    )


def _unfenced(reply: int, session_id: str) -> int:
    if reply == FENCED:
        raise LeaseLost(f"another ingest holds session {session_id}", session=session_id)
    if reply == GAP:
        raise CallGap(f"an earlier call of session {session_id} has not been carried out", session=session_id)
    return reply
