"""The status as text, for a screen of 100 columns. Pure."""

from __future__ import annotations

from shared.broker_queues import BrokerStatus
from shared.doctor_queues import check_queues
from shared.outboxes import OutboxStatus
from shared.run_page import local_time
from shared.status import IDENTITIES, Identity, SessionStatus, Status
from shared.tables import Column, duration, number, printable_lines, table

_SESSIONS = (
    Column("TRIGGER", shrink=True), Column("SESSION"), Column("SINCE"), Column("MQTT"), Column("EPOCH", "right"),
    Column("GRANTED QOS", shrink=True), Column("CLIENT ID", shrink=True),
)  # fmt: skip
_TELLS = {
    "told": "yes", "silent": "nothing", "refused": "refused", "away": "away", "unwatched": "not asked",
}  # fmt: skip
_COUNTS = ("received", "admitted", "runs", "queued", "running", "succeeded", "failed", "interrupted", "lost")
_BY_COUNTS = tuple(cell for _, right in IDENTITIES.values() for cell in right if cell not in {*_COUNTS, "placed"})
_OUTBOXES = (Column("OUTBOX", shrink=True), Column("STATE"), Column("SINCE"), Column("WAITING", "right"))
_BROKERS = (
    Column("BROKER", shrink=True), Column("TELLS"), Column("KEEPS", "right"), Column("LIMIT", "right"),
    Column("DROPPED", "right"), Column("VERSION", shrink=True),
)  # fmt: skip
_WORKERS = (
    Column("WORKER"), Column("STATE"), Column("CLAIMED", "right"), Column("RUNNING", "right"),
    Column("SUCCEEDED", "right"), Column("FAILED", "right"), Column("BUSY", "right"), Column("WHERE", shrink=True),
)  # fmt: skip


def status_page(status: Status, width: int | None) -> str:
    """Everything on one screen."""
    parts = [_head(status), _queues(status)]
    if status.sessions:
        parts.append(_sessions(status.sessions, width))
    if any(each.state != "unwatched" or each.dropped_lately for each in status.brokers):
        parts.append(_brokers(status.brokers, width))
    if status.counters.triggers:
        parts.append(_counts(status, width))
    if status.outboxes:
        parts.append(_outboxes(status.outboxes, width))
    parts += [_books(status.identities), _workers(status, width)]
    return printable_lines("\n\n".join(parts))


def identity_text(identity: Identity) -> str:
    """`received 5 = admitted 4 + duplicate 1`, with what is zero left out."""
    ((name, whole),) = identity.left.items()
    parts = " + ".join(f"{cell} {number(count)}" for cell, count in identity.right.items() if count) or "0"
    where = "" if identity.trigger is None else f"{identity.trigger}: "
    return f"{where}{name} {number(whole)} {'=' if identity.holds else '≠'} {parts}"


def _head(status: Status) -> str:
    redis, deployment = status.redis, status.deployment
    deployed = f"deployment {deployment.number}, {deployment.triggers} triggers, {deployment.scripts} scripts"
    lines = [
        deployed if deployment.number else "nothing is deployed: headrace push DIR",
        f"{redis.server} {redis.version} at {redis.url}, durability {redis.durability}",
    ]
    return "\n".join([*lines, *[f"  {reason}" for reason in redis.reasons]])


def _queues(status: Status) -> str:
    age = status.oldest_unprocessed_age_ms
    waiting = "nothing waits" if age is None else f"the oldest has waited {duration(age)}"
    return (
        f"inbox {number(status.inbox_length)}   queue {number(status.queue_length)}   "
        f"running {number(status.running)}   dead letters {number(status.dead)}   ({waiting})"
    )


def _sessions(sessions: list[SessionStatus], width: int | None) -> str:
    rows = [
        (
            session.trigger, session.state, local_time(session.since), session.protocol or "–", str(session.epoch),
            _granted(session), session.client_id,
        )
        for session in sessions
    ]  # fmt: skip
    lines = [table(_SESSIONS, rows, width)]
    for session in sessions:
        if session.reason and session.state != "connected":
            again = f"; next try {local_time(session.next_try_at)}" if session.next_try_at else ""
            lines.append(f"  {session.trigger}: {session.reason}{again}")
    return "\n".join(lines)


def _brokers(brokers: list[BrokerStatus], width: int | None) -> str:
    rows = [
        (
            each.broker, _TELLS[each.state], _count(each.kept), "none" if each.limit is None else _limit(each),
            _count(each.dropped), each.version or "–",
        )
        for each in brokers
    ]  # fmt: skip
    wrong = [f"  {check.broker}: {check.found}\n    {check.fix}" for check in check_queues(brokers) if check.fix]
    return "\n".join([table(_BROKERS, rows, width), *wrong])


def _limit(broker: BrokerStatus) -> str:
    return f"{number(broker.limit or 0)}{'?' if broker.limit_is_stock else ''}"


def _count(count: int | None) -> str:
    return "–" if count is None else number(count)


def _outboxes(outboxes: list[OutboxStatus], width: int | None) -> str:
    rows = [(each.broker, each.state, local_time(each.since), number(each.waiting)) for each in outboxes]
    lines = [table(_OUTBOXES, rows, width)]
    return "\n".join([*lines, *[f"  {each.broker}: {each.reason}" for each in outboxes if each.reason]])


def _granted(session: SessionStatus) -> str:
    shown = {
        topic: session.refused.get(topic, "–" if qos is None else str(qos)) for topic, qos in session.granted.items()
    }
    return ", ".join(f"{topic} {qos}" for topic, qos in shown.items())


def _counts(status: Status, width: int | None) -> str:
    total, triggers = status.counters.total, status.counters.triggers
    others = [cell for cell in _BY_COUNTS if total.get(cell)]
    cells = [*_COUNTS, *others]
    columns = [Column("", shrink=True), *[Column(cell.replace("_", " ").upper(), "right") for cell in cells]]
    rows = [(path, *[number(counts.get(cell, 0)) for cell in cells]) for path, counts in triggers.items()]
    if len(rows) > 1:
        rows.append(("all", *[number(total.get(cell, 0)) for cell in cells]))
    return table(columns, rows, width)


def _books(identities: list[Identity]) -> str:
    wrong = [identity for identity in identities if not identity.holds]
    if wrong:
        return "\n".join(["the books DO NOT BALANCE:", *[f"  {identity_text(identity)}" for identity in wrong]])
    totals = [identity for identity in identities if identity.trigger is None]
    return "\n".join(["the books balance:", *[f"  {identity_text(identity)}" for identity in totals]])


def _workers(status: Status, width: int | None) -> str:
    if not status.workers:
        return "no workers"
    rows = [
        (
            worker.name, worker.state, number(worker.claimed), number(worker.running), number(worker.succeeded),
            number(worker.failed), duration(worker.working_s * 1000), f"{worker.hostname} pid {worker.pid}",
        )
        for worker in status.workers
    ]  # fmt: skip
    return table(_WORKERS, rows, width)
