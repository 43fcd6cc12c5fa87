"""Triggers as they are doing: mode, session, what came in lately, what waits, what went wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import msgspec

from shared import keys
from shared.definitions import Mode, Trigger
from shared.modes import read_triggers
from shared.run_record import iso_ms
from shared.scripts.call import Arg
from shared.scripts.operate import snapshot
from shared.status import SessionStatus, session_status
from shared.store import Store

RECENT_S: Final = 60
_BADLY: Final = ("failed", "lost", "interrupted", "unrouted", "poisoned", "oversized")


class TriggerRow(msgspec.Struct, frozen=True):
    """A deployed trigger. `session` is the state of its MQTT session, `reason` what keeps that from being connected.

    `last_message_at` is when the newest run was made of a message, as far as runs are still kept; `per_minute` how many
    were in the last minute. `lag` counts messages in the inbox and runs that are queued. `suspended` runs wait to be
    resumed. `ended_badly` counts runs that failed, were lost or interrupted, and messages that could not become runs.
    """

    trigger: str
    mode: Mode
    session: str
    reason: str | None
    last_message_at: str | None
    per_minute: int
    lag: int
    suspended: int
    running: int
    succeeded: int
    ended_badly: int
    runnable: str
    topics: list[str]


class TriggerDetails(msgspec.Struct, frozen=True):
    """A trigger with its session, its cells of the identities, and what is deployed of it."""

    row: TriggerRow
    session: SessionStatus
    counters: dict[str, int]
    definition: Trigger


def read_details(store: Store, paths: Sequence[str]) -> list[TriggerDetails]:
    """These triggers, or all. Raises UserError for one that is not deployed."""
    triggers = read_triggers(store, paths)
    found = store.run(snapshot())
    since_us = found.now_us - RECENT_S * 1_000_000
    commands: list[tuple[Arg, ...]] = []
    for path in triggers:
        commands.append(("ZREVRANGE", keys.runs(path), 0, 0, "WITHSCORES"))
        commands.append(("ZCOUNT", keys.runs(path), since_us, "+inf"))
    replies = iter(store.commands(commands) if commands else [])
    details = []
    for path, trigger in triggers.items():
        newest, recent = next(replies), next(replies)
        session = session_status(trigger, found.sessions.get(trigger.session))
        cells = found.counters.get(path, {})
        row = _row(trigger, session, cells, _newest_ms(newest), recent)
        details.append(TriggerDetails(row, session, cells, trigger))
    return details


def _row(
    trigger: Trigger, session: SessionStatus, cells: dict[str, int], newest_ms: int | None, recent: int
) -> TriggerRow:
    return TriggerRow(
        trigger=trigger.path,
        mode=trigger.mode,
        session=session.state,
        reason=session.reason if session.state != "connected" else None,
        last_message_at=None if newest_ms is None else iso_ms(newest_ms),
        per_minute=recent,
        lag=cells.get("inbox", 0) + cells.get("queued", 0),
        suspended=cells.get("suspended", 0),
        running=cells.get("running", 0),
        succeeded=cells.get("succeeded", 0),
        ended_badly=sum(cells.get(cell, 0) for cell in _BADLY),
        runnable=trigger.runnable,
        topics=[topic.topic for topic in trigger.topics],
    )


def _newest_ms(reply: Sequence[object]) -> int | None:
    """From a member with its score (epoch µs), however the protocol puts them."""
    if not reply:
        return None
    score = reply[0][1] if isinstance(reply[0], list | tuple) else reply[1]
    return math.floor(float(str(score if not isinstance(score, bytes) else score.decode())) / 1000)
