"""The state of the whole: the identities of the books, sessions, queues, workers. Reads everything at one instant."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

import msgspec

from shared.broker_queues import BrokerStatus, read_brokers
from shared.config_keys import public_url
from shared.definitions import Broker, Trigger
from shared.deploy import read_all
from shared.deployment import Deployed
from shared.durability import Durability, read_durability
from shared.errors import HeadraceError, TopicError
from shared.outboxes import OutboxStatus, read_outboxes
from shared.run_record import iso_ms
from shared.runs import LIVE, TERMINAL
from shared.scripts.operate import SessionSnapshot, Snapshot, WorkerSnapshot, snapshot
from shared.store import Store
from shared.topics import parse_filter

IDENTITIES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "admit": ("received", ("admitted", "duplicate", "invalid", "oversized", "retained_skipped", "own")),
    "place": ("admitted", ("inbox", "placed", "unrouted", "poisoned", "repeated")),
    "run": ("runs", (*LIVE, *TERMINAL)),
    "send": ("said", ("outbox", "sent", "unsent")),
}
"""The cells left and right of the sign: every message is on the right once for each time that it is on the left."""

_CELLS = tuple(dict.fromkeys(cell for left, right in IDENTITIES.values() for cell in (left, *right)))
_PROTOCOLS = {"4": "3.1.1", "5": "5"}
_REFUSED = 0x80  # MQTT 5 §3.9.3


class Identity(msgspec.Struct, frozen=True):
    """One identity, of one trigger or (None) of all: `left` = sum of `right`."""

    trigger: str | None
    name: str
    holds: bool
    left: dict[str, int]
    right: dict[str, int]


class Counters(msgspec.Struct, frozen=True):
    """The cells, of all and per trigger; a cell that was never counted is 0."""

    total: dict[str, int]
    triggers: dict[str, dict[str, int]]


class SessionStatus(msgspec.Struct, frozen=True):
    """The MQTT session of a deployed trigger.

    `state` is what the session says of itself, `waiting` when no process holds it, `disabled` when the trigger is.
    `granted` holds the QoS that the broker granted per topic (None: not asked yet), `refused` reason codes in
    hexadecimal. `inflight`: QoS 2 packet ids between PUBLISH and PUBREL.
    """

    trigger: str
    enabled: bool
    session: str
    state: str
    since: str | None
    reason: str | None
    attempt: int | None
    next_try_at: str | None
    client_id: str
    epoch: int
    connection: int
    protocol: str | None
    holder: str | None
    granted: dict[str, int | None]
    refused: dict[str, str]
    inflight: int


class WorkerStatus(msgspec.Struct, frozen=True):
    """A worker. One that is not alive is settled by the others' sweep within seconds."""

    name: str
    alive: bool
    state: str
    claimed: int
    running: int
    succeeded: int
    failed: int
    working_s: float
    hostname: str
    pid: int
    started_at: str | None


class RedisStatus(msgspec.Struct, frozen=True):
    """The server, and whether it keeps what it was given."""

    url: str
    server: str
    version: str
    durability: str
    reasons: list[str]


class DeploymentStatus(msgspec.Struct, frozen=True):
    """`number` 0: nothing was ever deployed. `id` is part of the client ids."""

    number: int
    id: str
    triggers: int
    scripts: int


class Status(msgspec.Struct, frozen=True):
    """`queue_length` counts what waits for its start: in the queue, or claimed by a worker (`claimed`).

    `oldest_unprocessed_age_ms` is that of the oldest message in the inbox or the run at the head of the queue, by
    Redis' clock; None when nothing waits.
    """

    at: str
    deployment: DeploymentStatus
    redis: RedisStatus
    inbox_length: int
    queue_length: int
    claimed: int
    running: int
    dead: int
    oldest_unprocessed_age_ms: int | None
    sessions: list[SessionStatus]
    counters: Counters
    identities: list[Identity]
    workers: list[WorkerStatus]
    outboxes: list[OutboxStatus] = []
    brokers: list[BrokerStatus] = []


class _Subscribed(msgspec.Struct):
    filter: str
    granted: int | None = None


class _Generation(msgspec.Struct):
    filters: list[_Subscribed]


class _Subscriptions(msgspec.Struct):
    generations: list[_Generation]


def read_status(store: Store, url: str) -> Status:
    """Ask Redis. Raises StoreUnavailable."""
    found = store.run(snapshot())
    deployed = Deployed(int(found.deployment.get("number", 0)), found.deployed)
    triggers = read_all(store, deployed.of_kind("trigger"), Trigger)
    needed = {trigger.broker for trigger in triggers.values() if trigger.enabled}
    brokers = {path: key for path, key in deployed.of_kind("broker").items() if path in needed}
    counters = _counters(found, triggers)
    claimed = sum(worker.claimed for worker in found.workers)
    return Status(
        at=iso_ms(found.now_us // 1000),
        deployment=DeploymentStatus(
            deployed.number, found.deployment.get("id", ""), len(triggers), len(deployed.of_kind("script"))
        ),
        redis=read_server(store, url),
        inbox_length=found.inbox,
        queue_length=found.queue + claimed,
        claimed=claimed,
        running=found.started,
        dead=found.dead,
        oldest_unprocessed_age_ms=oldest_age_ms(found),
        sessions=[session_status(trigger, found.sessions.get(trigger.session)) for trigger in triggers.values()],
        counters=counters,
        identities=[
            *check_identities(None, counters.total),
            *[identity for path, cells in counters.triggers.items() for identity in check_identities(path, cells)],
        ],
        workers=sorted((_worker(worker) for worker in found.workers), key=lambda worker: worker.name),
        outboxes=read_outboxes(store),
        brokers=read_brokers(store, read_all(store, brokers, Broker).values(), found.now_us // 1000),
    )


def check_identities(trigger: str | None, cells: dict[str, int]) -> list[Identity]:
    """The identities for these cells."""
    found = []
    for name, (left, right) in IDENTITIES.items():
        parts = {cell: cells.get(cell, 0) for cell in right}
        whole = cells.get(left, 0)
        found.append(Identity(trigger, name, whole == sum(parts.values()), {left: whole}, parts))
    return found


def session_status(trigger: Trigger, found: SessionSnapshot | None) -> SessionStatus:
    """What Redis holds of a trigger's session (None: it has never been opened)."""
    fields = found.fields if found else {}
    holder = found.lease.partition(" ")[2] if found else ""
    idle = "waiting" if trigger.enabled else "disabled"
    granted = _granted(trigger, fields.get("subscriptions", ""))
    accepted = {topic: None if code is None or code >= _REFUSED else code for topic, code in granted.items()}
    return SessionStatus(
        trigger=trigger.path,
        enabled=trigger.enabled,
        session=trigger.session,
        state=fields.get("state", "connecting") if holder else idle,
        since=_time(fields.get("since")) if holder else None,
        reason=(fields.get("reason") or None) if holder else None,
        attempt=_number(fields.get("attempt")) if holder else None,
        next_try_at=_time(fields.get("next_try_at")) if holder else None,
        client_id=fields.get("client_id") or trigger.client_id,
        epoch=_number(fields.get("epoch")) or 0,
        connection=_number(fields.get("connection")) or 0,
        protocol=_PROTOCOLS.get(fields.get("protocol", "")),
        holder=holder or None,
        granted=accepted,
        refused={topic: f"0x{code:02x}" for topic, code in granted.items() if code is not None and code >= _REFUSED},
        inflight=found.inflight if found else 0,
    )


def read_server(store: Store, url: str) -> RedisStatus:
    """Which server it is, and whether it keeps what it was given."""
    try:
        info: dict[str, Any] = store.command("INFO", "server")
    except HeadraceError:  # an ACL may forbid it; nothing hangs on it
        info = {}
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = str(info.get("valkey_version") or info.get("redis_version") or "")
    durability: Durability = read_durability(store)
    return RedisStatus(public_url(url), name, version, durability.level, durability.reasons)


def _counters(found: Snapshot, deployed: Iterable[str]) -> Counters:
    paths = sorted({*deployed, *found.counters})
    triggers = {path: dict.fromkeys(_CELLS, 0) | found.counters.get(path, {}) for path in paths}
    total = dict.fromkeys(_CELLS, 0)
    for cells in triggers.values():
        for cell, count in cells.items():
            total[cell] = total.get(cell, 0) + count
    return Counters(total, triggers)


def _granted(trigger: Trigger, stored: str) -> dict[str, int | None]:
    """Topic as the trigger names it → QoS or reason code of SUBACK, as ingest has stored it."""
    try:
        newest = msgspec.json.decode(stored, type=_Subscriptions).generations[:1] if stored else []
    except msgspec.DecodeError:
        newest = []
    codes = {each.filter: each.granted for generation in newest for each in generation.filters}
    return {topic.topic: codes.get(_subscription(topic.topic)) for topic in trigger.topics}


def _subscription(topic: str) -> str:
    try:
        return parse_filter(topic).subscription
    except TopicError:
        return topic


def oldest_age_ms(found: Snapshot) -> int | None:
    """For how long the oldest message of the inbox, or the head of the queue, has waited; None: nothing waits."""
    now_ms = found.now_us // 1000
    starts = []
    if found.inbox_oldest:
        starts.append(int(found.inbox_oldest.partition("-")[0]))
    if found.queue_head_at:
        starts.append(int(datetime.fromisoformat(found.queue_head_at).timestamp() * 1000))
    return max(0, now_ms - min(starts)) if starts else None


def _worker(found: WorkerSnapshot) -> WorkerStatus:
    fields = found.fields
    return WorkerStatus(
        name=found.name,
        alive=found.alive,
        state=(fields.get("state") or "starting") if found.alive else "dead",
        claimed=found.claimed,
        running=found.started,
        succeeded=_number(fields.get("successful_job_count")) or 0,
        failed=_number(fields.get("failed_job_count")) or 0,
        working_s=float(fields.get("total_working_time") or 0),
        hostname=fields.get("hostname", ""),
        pid=_number(fields.get("pid")) or 0,
        started_at=fields.get("birth") or None,
    )


def _number(text: str | None) -> int | None:
    return int(text) if text and text.lstrip("-").isdigit() else None


def _time(text: str | None) -> str | None:
    """Epoch milliseconds as a session reports them."""
    ms = _number(text)
    return iso_ms(ms) if ms else None
