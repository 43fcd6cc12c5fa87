"""How outboxes stand: what waits for which broker, and what its sender says of itself."""

from __future__ import annotations

from typing import Literal

import msgspec

from shared import keys
from shared.run_record import iso_ms
from shared.scripts.call import Arg
from shared.store import Store

State = Literal["connected", "waiting", "idle"]


class SenderReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the sender of an outbox says of itself, as it is stored (JSON). `since` is epoch milliseconds."""

    state: State
    since: int
    reason: str = ""


class OutboxStatus(msgspec.Struct, frozen=True):
    """The outbox of a broker. `waiting`: messages that it has not acknowledged; `since` is ISO 8601 in UTC.

    `state` is `idle` where nobody sends: nothing has been published yet, or no ingest runs.
    """

    broker: str
    waiting: int
    state: State
    since: str | None
    reason: str


def report_command(broker: str, report: SenderReport) -> tuple[Arg, ...]:
    """The command that stores a report."""
    return ("HSET", keys.OUTBOX_REPORTS, broker, msgspec.json.encode(report))


def read_outboxes(store: Store) -> list[OutboxStatus]:
    """All that there are, by the path of their broker. Raises StoreUnavailable."""
    brokers = sorted(each.decode() for each in store.command("SMEMBERS", keys.OUTBOXES))
    if not brokers:
        return []
    commands: list[tuple[Arg, ...]] = [("HMGET", keys.OUTBOX_REPORTS, *brokers)]
    commands += [("XLEN", keys.outbox(broker)) for broker in brokers]
    commands += [("EXISTS", keys.role(keys.sending(broker))) for broker in brokers]
    reports, *counts = store.commands(commands)
    lengths, held = counts[: len(brokers)], counts[len(brokers) :]
    return [_status(*row) for row in zip(brokers, lengths, held, reports, strict=True)]


def _status(broker: str, waiting: int, held: int, blob: bytes | None) -> OutboxStatus:
    try:
        report = msgspec.json.decode(blob or b"", type=SenderReport)
    except msgspec.DecodeError:
        return OutboxStatus(broker, waiting, "idle", None, "" if held or not waiting else "no ingest sends from it")
    if not held:
        return OutboxStatus(broker, waiting, "idle", None, "no ingest sends from it")
    return OutboxStatus(broker, waiting, report.state, iso_ms(report.since), report.reason)
