"""The MQTT sessions that there are: of triggers, and those left behind; and what is asked of the latter."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from shared import keys
from shared.definitions import Broker, Trigger
from shared.deploy import read_all, read_now
from shared.errors import NotThere, UserError
from shared.left import FOR_EVER_S, LeftEntry, Wish, address_of, encode_left, expiry_s, read_left
from shared.run_record import iso_ms
from shared.scripts import ingest
from shared.scripts.operate import Hash, SessionSnapshot, left_change, snapshot
from shared.status import session_status
from shared.store import Store

POLL_S = 0.25
_ATTEMPTS = 20
_V311 = "4"
_DOING: dict[Wish, str] = {"drain": "draining", "end": "ending"}
_IN_TROUBLE = frozenset({"reconnecting", "refused", "taken over"})

Waits = Literal["until", "for ever", "as long as the broker keeps them", "expired"]


class SessionRow(msgspec.Struct, frozen=True):
    """A session. `state` is what a trigger's says of itself. That of one that was left is `left` or `disabled`; once
    something is asked of it `draining`, `ending`, or what keeps it from that (`reason`).

    `waits` says how long messages wait in one that is left: `until` is that time; `expired`: they are surely gone.
    `drained` counts what was taken in since it was asked for.
    """

    session: str
    trigger: str
    state: str
    client_id: str
    broker: str
    epoch: int
    inflight: int
    holder: str | None = None
    reason: str | None = None
    left_at: str | None = None
    wish: Wish | None = None
    waits: Waits | None = None
    until: str | None = None
    drained: int | None = None


class Asked(msgspec.Struct, frozen=True):
    """What came of a wish so far. `done`: the session is ended; `drained` messages were taken in before."""

    session: str
    wish: Wish
    done: bool
    drained: int
    state: str = ""
    reason: str | None = None


def list_sessions(store: Store) -> list[SessionRow]:
    """All of them: of triggers that are enabled, then those left behind. Raises StoreUnavailable."""
    found = store.run(snapshot())
    deployed = read_now(store)
    triggers = read_all(store, deployed.of_kind("trigger"), Trigger)
    brokers = read_all(store, deployed.of_kind("broker"), Broker)
    left = read_left(store)
    rows = []
    for trigger in triggers.values():
        if trigger.enabled:
            at = brokers.get(trigger.broker)
            status = session_status(trigger, found.sessions.get(trigger.session))
            rows.append(
                SessionRow(
                    trigger.session, trigger.path, status.state, trigger.client_id, _place(at), status.epoch,
                    status.inflight, status.holder, status.reason,
                )
            )  # fmt: skip
    versions = {session: entry.left.trigger_version for session, entry in left.items()}
    owners = read_all(store, versions, Trigger)
    now_ms = found.now_us // 1000
    return rows + [
        left_row(session, entry, owners.get(session), found.sessions.get(session), now_ms)
        for session, entry in left.items()
    ]


def left_row(
    session: str, entry: LeftEntry, trigger: Trigger | None, found: SessionSnapshot | None, now_ms: int
) -> SessionRow:
    """What is known of a session that was left behind, at this time."""
    left, fields = entry.left, found.fields if found else {}
    holder = found.lease.partition(" ")[2] if found else ""
    waits, until = _waits(entry, trigger, fields, now_ms)
    said = fields.get("state", "")
    state = "disabled" if left.why == "disabled" else "left"
    if left.wish is not None:
        state = said if holder and said in _IN_TROUBLE else _DOING[left.wish]
    waiting = "no ingest process has taken it up yet" if left.wish and not holder else None
    return SessionRow(
        session=session, trigger=left.trigger, state=state, client_id=left.client_id, broker=_place(entry.broker),
        epoch=int(fields.get("epoch") or left.epoch), inflight=found.inflight if found else 0, holder=holder or None,
        reason=(fields.get("reason") or None) if holder and left.wish else waiting, left_at=iso_ms(left.at),
        wish=left.wish, waits=waits, until=None if until is None else iso_ms(until),
        drained=_drained(left.admitted, fields) if left.wish else None,
    )  # fmt: skip


def ask(store: Store, session: str, wish: Wish) -> None:
    """Let ingest drain or end a session that was left behind. May be repeated. Raises UserError, StoreUnavailable."""
    for _ in range(_ATTEMPTS):
        entry = _entry(store, session)
        _check_free(store, session, entry)
        left = entry.left
        if left.wish == wish:
            return
        admitted = left.admitted if left.wish else int(store.command("HGET", keys.session(session), "admitted") or 0)
        wanted = msgspec.structs.replace(left, wish=wish, admitted=admitted)
        if store.run(left_change(session, entry.blob, encode_left(wanted))):
            return
    raise UserError(f"the session {session} is changed by others all the time", hint="try again")


def wait_for(store: Store, session: str, wish: Wish, wait_s: float, say: Callable[[Asked], None]) -> Asked:
    """Wait until what was asked for is done, for so long at most; `say` hears of each change."""
    deadline = time.monotonic() + wait_s
    told: Asked | None = None
    while True:
        asked = _progress(store, session, wish)
        if asked != told:
            say(asked)
            told = asked
        if asked.done or time.monotonic() >= deadline:
            return asked
        time.sleep(POLL_S)


def forget(store: Store, session: str) -> None:
    """Remove what Redis knows of a session that was left behind; the broker is not told. Raises UserError."""
    _entry(store, session)
    store.run(ingest.session_end(session, None))


def _progress(store: Store, session: str, wish: Wish) -> Asked:
    row = next((row for row in list_sessions(store) if row.session == session), None)
    if row is not None and row.wish is None:
        raise UserError(f"the session {session} is not left behind any more: {row.trigger} has taken it up again")
    if row is None:
        return Asked(
            session, wish, done=True, drained=int(store.command("HGET", keys.session(session), "drained") or 0)
        )
    return Asked(session, wish, done=False, drained=row.drained or 0, state=row.state, reason=row.reason)


def _entry(store: Store, session: str) -> LeftEntry:
    if (entry := read_left(store).get(session)) is None:
        raise NotThere(
            f"no session {session} was left behind",
            hint="headrace sessions lists them; that of a trigger is left when the trigger is disabled or deleted",
        )
    return entry


def _check_free(store: Store, session: str, entry: LeftEntry) -> None:
    """Two sessions with one client id at one broker would end each other."""
    deployed = read_now(store)
    brokers = read_all(store, deployed.of_kind("broker"), Broker)
    for trigger in read_all(store, deployed.of_kind("trigger"), Trigger).values():
        broker = brokers.get(trigger.broker)
        if not trigger.enabled or trigger.client_id != entry.left.client_id or None in (broker, entry.broker):
            continue
        if broker is not None and entry.broker is not None and address_of(broker) == address_of(entry.broker):
            raise UserError(
                f"the trigger {trigger.path} has the session's client id {trigger.client_id!r} at the same broker",
                hint=f"what waits there comes to that trigger; headrace sessions forget {session} removes the record",
            )


def _waits(entry: LeftEntry, trigger: Trigger | None, fields: Hash, now_ms: int) -> tuple[Waits | None, int | None]:
    """How long the broker keeps the session, and until when (epoch ms)."""
    if fields.get("protocol") == _V311:
        return "as long as the broker keeps them", None
    lifetime_s = _granted_s(fields)
    if lifetime_s is None:
        lifetime_s = expiry_s(trigger) if trigger else None
    if lifetime_s is None:
        return None, None
    if lifetime_s == FOR_EVER_S:
        return "for ever", None
    until = max(entry.left.at, int(fields.get("since") or 0)) + lifetime_s * 1000
    return ("expired" if until < now_ms else "until"), until


def _granted_s(fields: Mapping[str, str]) -> int | None:
    """The expiry that the broker has set in place of what it was asked for (MQTT 5 §3.2.2.3.2)."""
    try:
        limits = msgspec.json.decode(fields.get("limits") or b"{}", type=dict[str, object])
    except msgspec.DecodeError:
        return None
    granted = limits.get("session_expiry_s")
    return granted if isinstance(granted, int) else None


def _drained(before: int, fields: Hash) -> int:
    return int(fields.get("admitted") or 0) - before


def _place(broker: Broker | None) -> str:
    return "?" if broker is None else f"{broker.host}:{broker.port}"
