"""How full a broker's queues are, and whether it has dropped messages, as far as it tells of itself under $SYS.

Mosquitto, and who follows it, tells how many messages it keeps and how many it has dropped, of all of its clients;
EMQX what it has dropped, by node. No broker tells its limits: Mosquitto drops what comes for a session in whose queue
there are `max_queued_messages`, stock 1000 (mosquitto.conf(5)), EMQX beyond `mqtt.max_mqueue_len`, stock 1000.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal

import msgspec

from shared import keys
from shared.definitions import Broker
from shared.run_record import iso_ms
from shared.scripts.call import Arg
from shared.store import Store

Part = Literal["version", "dropped", "stored", "retained"]
Told = Literal["told", "silent", "refused", "away"]

SYS: Final[dict[str, Part]] = {
    "$SYS/broker/version": "version",
    "$SYS/broker/publish/messages/dropped": "dropped",
    "$SYS/broker/store/messages/count": "stored",
    "$SYS/broker/retained messages/count": "retained",
    "$SYS/brokers/+/version": "version",
    "$SYS/brokers/+/metrics/delivery/dropped/queue_full": "dropped",
}
"""Topic filter → what it tells."""
STOCK_LIMIT: Final = 1000
LATELY_MS: Final = 3600 * 1000
"""For so long it is said that a broker has dropped messages."""
_NODE: Final = 2
_NUMBER: Final = 18  # digits, so that it is one that JSON and Redis can hold


class QueueReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of a broker's queues, as it is stored (JSON). Times are epoch milliseconds.

    `state`: it tells; it lets us look and tells nothing (`silent`); it does not let us look; it cannot be reached.
    `kept`: messages that it keeps for its clients, connected or not. `dropped`: since the broker started; of these,
    `lately` from `lately_from` on until `dropped_at`, which is when the last was noticed.
    """

    state: Told
    since: int
    reason: str = ""
    version: str = ""
    kept: int | None = None
    dropped: int | None = None
    lately: int = 0
    lately_from: int | None = None
    dropped_at: int | None = None


class BrokerStatus(msgspec.Struct, frozen=True):
    """The broker of triggers that are enabled. Times are ISO 8601 in UTC.

    `state` is `unwatched` where nobody looks, with what was last heard of it. `kept`, `dropped`: see `QueueReport`.
    `limit`: messages that it keeps for each session, as its resource says or (`limit_is_stock`) as Mosquitto has it
    when it is installed; None: as many as there are. `dropped_lately` have been dropped within about an hour.
    """

    broker: str
    state: Literal["told", "silent", "refused", "away", "unwatched"]
    since: str | None = None
    reason: str = ""
    version: str = ""
    kept: int | None = None
    limit: int | None = STOCK_LIMIT
    limit_is_stock: bool = True
    dropped: int | None = None
    dropped_lately: int = 0
    dropped_from: str | None = None
    dropped_at: str | None = None


def part_of(topic: str) -> Part | None:
    """What a topic under $SYS tells."""
    levels = topic.split("/")
    if topic.startswith("$SYS/brokers/") and len(levels) > _NODE:
        levels[_NODE] = "+"
    return SYS.get("/".join(levels))


def noted(before: QueueReport | None, said: Mapping[str, bytes], now_ms: int) -> QueueReport:
    """What the newest payloads (by topic) come to, after what was reported `before`.

    A broker that counts less than before has started anew. Numbers that are none are passed over.
    """
    counts = {part: _sum(said, part) for part in ("dropped", "stored", "retained")}
    version = next((text.decode("utf-8", "replace") for topic, text in said.items() if part_of(topic) == "version"), "")
    stored, dropped = counts["stored"], counts["dropped"]
    kept = None if stored is None else max(0, stored - (counts["retained"] or 0))
    state: Told = "silent" if kept is None and dropped is None else "told"
    since = before.since if before is not None and before.state == state else now_ms
    now = QueueReport(state, since, version=version, kept=kept, dropped=dropped)
    return now if before is None else _with_drops(before, now, now_ms)


def troubled(before: QueueReport | None, state: Told, reason: str, now_ms: int) -> QueueReport:
    """It does not tell, for this reason; what it has told counts on."""
    if before is None:
        return QueueReport(state, now_ms, reason)
    since = before.since if before.state == state else now_ms
    return msgspec.structs.replace(before, state=state, since=since, reason=reason)


def decode_report(blob: bytes | None) -> QueueReport | None:
    """What `report_command` has stored; None where there is nothing that can be read."""
    try:
        return msgspec.json.decode(blob or b"", type=QueueReport)
    except msgspec.DecodeError:
        return None


def report_command(broker: str, report: QueueReport) -> tuple[Arg, ...]:
    """The command that stores a report."""
    return ("HSET", keys.BROKER_REPORTS, broker, msgspec.json.encode(report))


def read_brokers(store: Store, brokers: Iterable[Broker], now_ms: int) -> list[BrokerStatus]:
    """These brokers, by path. Raises StoreUnavailable."""
    found = sorted(brokers, key=lambda broker: broker.path)
    if not found:
        return []
    commands: list[tuple[Arg, ...]] = [("HMGET", keys.BROKER_REPORTS, *[broker.path for broker in found])]
    commands += [("EXISTS", keys.role(keys.watching(broker.path))) for broker in found]
    reports, *watched = store.commands(commands)
    return [
        broker_status(broker, decode_report(blob), is_watched=bool(held), now_ms=now_ms)
        for broker, blob, held in zip(found, reports, watched, strict=True)
    ]


def broker_status(broker: Broker, report: QueueReport | None, *, is_watched: bool, now_ms: int) -> BrokerStatus:
    """What status and console show of a broker."""
    given = broker.max_queued_messages
    limit = STOCK_LIMIT if given is None else given or None
    if report is None:
        return BrokerStatus(broker.path, "unwatched", limit=limit, limit_is_stock=given is None)
    lately = report.dropped_at is not None and now_ms - report.dropped_at < LATELY_MS
    return BrokerStatus(
        broker.path,
        report.state if is_watched else "unwatched",
        iso_ms(report.since),
        report.reason,
        report.version,
        report.kept,
        limit,
        given is None,
        report.dropped,
        report.lately if lately else 0,
        iso_ms(report.lately_from) if lately and report.lately_from else None,
        iso_ms(report.dropped_at) if lately and report.dropped_at else None,
    )


def _with_drops(before: QueueReport, now: QueueReport, now_ms: int) -> QueueReport:
    """What has been dropped meanwhile, joined with what was dropped shortly before."""
    fresh = 0
    if before.dropped is not None and now.dropped is not None:
        fresh = now.dropped - before.dropped if now.dropped >= before.dropped else now.dropped
    recent = before.dropped_at is not None and now_ms - before.dropped_at < LATELY_MS
    return msgspec.structs.replace(
        now,
        dropped=before.dropped if now.dropped is None else now.dropped,
        version=now.version or before.version,
        lately=fresh + (before.lately if recent else 0),
        lately_from=before.lately_from if recent else now_ms if fresh else None,
        dropped_at=now_ms if fresh else before.dropped_at if recent else None,
    )


def _sum(said: Mapping[str, bytes], part: Part) -> int | None:
    """Over the nodes of a cluster; None where nobody has told."""
    counts = [int(text) for topic, text in said.items() if part_of(topic) == part and _is_count(text)]
    return sum(counts) if counts else None


def _is_count(text: bytes) -> bool:
    return text.isdigit() and len(text) <= _NUMBER
