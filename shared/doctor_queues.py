"""Do brokers drop messages, or are they about to? By what they tell of themselves. Pure."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from shared.broker_queues import BrokerStatus
from shared.run_page import local_time
from shared.tables import number

NEAR: Final = 0.5
"""The part of a queue's limit from which on there is a warning: time is needed to do something."""


class QueueCheck(msgspec.Struct, frozen=True):
    """What is known of a broker's queues. `fix` says what to do where it is not ok."""

    level: Literal["ok", "warn"]
    broker: str
    found: str
    fix: str = ""


def check_queues(brokers: list[BrokerStatus]) -> list[QueueCheck]:
    """At least one for each broker of which anything is known, or should be."""
    return [check for broker in brokers for check in _of(broker)]


def _of(broker: BrokerStatus) -> list[QueueCheck]:
    found = [check for check in (_dropped(broker), _nearly_full(broker), _unseen(broker)) if check is not None]
    if found or broker.state == "unwatched":
        return found
    return [QueueCheck("ok", broker.broker, _calm(broker))]


def _dropped(broker: BrokerStatus) -> QueueCheck | None:
    if not broker.dropped_lately:
        return None
    total = "" if broker.dropped is None else f" ({number(broker.dropped)} since it started)"
    since = local_time(broker.dropped_from)
    lost = f"it has dropped {number(broker.dropped_lately)} messages since {since}{total}, of some client or other"
    fix = (
        "a queue was full: raise max_queued_messages (EMQX: mqtt.max_mqueue_len) at the broker, and see that no session"
        " of Headrace is away or slow; what was dropped is gone"
    )
    return QueueCheck("warn", broker.broker, lost, fix)


def _nearly_full(broker: BrokerStatus) -> QueueCheck | None:
    """The messages that a broker keeps may all be of one session: more than that none can have."""
    kept, limit = broker.kept, broker.limit
    if broker.state == "unwatched" or kept is None or limit is None or kept < limit * NEAR:
        return None
    whose = "Mosquitto's stock max_queued_messages" if broker.limit_is_stock else "as its resource says"
    found = (
        f"it keeps {number(kept)} messages for its clients, and drops what comes for a session that has"
        f" {number(limit)} ({whose})"
    )
    say = "and give the resource the same max_queued_messages" if broker.limit_is_stock else "and in the resource"
    fix = f"let the sessions that are away come back, or end them; raise max_queued_messages at the broker, {say}"
    return QueueCheck("warn", broker.broker, found, fix)


def _unseen(broker: BrokerStatus) -> QueueCheck | None:
    """Whoever has told us the limit has thought of it."""
    if broker.state not in {"silent", "refused"} or not broker.limit_is_stock:
        return None
    why = f": {broker.reason}" if broker.reason else ""
    found = f"it tells nothing of its queues{why}; whether it drops messages cannot be seen from here"
    fix = (
        "allow the user to read $SYS/#; or raise the limit of its queues, and write that as max_queued_messages into"
        " the resource (0: there is none)"
    )
    return QueueCheck("warn", broker.broker, found, fix)


def _calm(broker: BrokerStatus) -> str:
    if broker.state == "away":
        return f"it cannot be asked for its queues: {broker.reason}"
    limit = "any number" if broker.limit is None else number(broker.limit)
    stock = ", if that is as it was installed" if broker.limit_is_stock else ""
    kept = "" if broker.kept is None else f"it keeps {number(broker.kept)} messages for its clients; "
    dropped = "" if broker.dropped is None else f", and has dropped {number(broker.dropped)} since it started"
    return f"{kept}a session may have {limit} waiting{stock}{dropped}"
