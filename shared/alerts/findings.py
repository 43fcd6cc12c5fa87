"""What is wrong at this moment, by what Redis holds: pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from shared.alerts.model import Finding, named
from shared.definitions import Trigger
from shared.durability import Durability
from shared.scripts.operate import Snapshot
from shared.status import oldest_age_ms, session_status
from shared.tables import duration
from shared.workspace.alerts import Alerts

DISPATCH_IDLE_MS: Final = 15_000
"""A dispatcher asks for more every `dispatch.block_ms`, however little there is to do."""
_IN_TROUBLE: Final = frozenset({"refused", "taken over", "reconnecting", "connecting"})
_MS: Final = 1000


class Seen(msgspec.Struct, frozen=True):
    """What was read. `dispatch_idle_ms`: for how long no dispatcher has asked Redis for messages, None where there is
    none; `scheduled`: retries whose time has come; `is_suspended`: RQ's own tool has told the workers to pause.
    """

    snapshot: Snapshot
    triggers: Mapping[str, Trigger]
    durability: Durability
    dispatch_idle_ms: int | None = None
    scheduled: int = 0
    is_suspended: bool = False


def findings(seen: Seen, alerts: Alerts) -> list[Finding]:
    """All of it but dead letters."""
    return [*_sessions(seen), *_backlog(seen, alerts), *_stalled(seen), *_durability(seen.durability)]


def _sessions(seen: Seen) -> Iterator[Finding]:
    """Sessions that a broker does not let in, or not to all of their topics."""
    for trigger in seen.triggers.values():
        status = session_status(trigger, seen.snapshot.sessions.get(trigger.session))
        reason = f": {status.reason}" if status.reason else ""
        if status.state in _IN_TROUBLE:
            fix = "mend what the broker objects to, or see that it runs; it is tried again by itself"
            yield Finding("session", trigger.path, f"the session is {status.state}{reason}", fix)
        elif status.state == "connected" and status.refused:
            fix = "allow the user to subscribe, in the broker's ACL"
            yield Finding("session", trigger.path, f"the broker refuses {named(sorted(status.refused))}", fix)


def _backlog(seen: Seen, alerts: Alerts) -> Iterator[Finding]:
    age_ms = oldest_age_ms(seen.snapshot)
    if age_ms is None or age_ms < alerts.backlog_age_s * _MS:
        return
    now = seen.snapshot
    what = f"{now.inbox} messages in the inbox and {now.queue} runs in the queue, the oldest for {duration(age_ms)}"
    fix = "start headrace dispatch" if now.inbox else "start more of headrace worker, or see what the code waits for"
    yield Finding("backlog", "", what, fix, level=age_ms)


def _stalled(seen: Seen) -> Iterator[Finding]:
    """Work, and nobody who does it."""
    now = seen.snapshot
    unheld = [
        trigger.path
        for trigger in seen.triggers.values()
        if trigger.enabled and not ((session := now.sessions.get(trigger.session)) and session.lease)
    ]
    if unheld:
        what = f"no process holds the sessions of {named(unheld)}: their brokers keep the messages, or drop them"
        yield Finding("stalled", "ingest", what, "start headrace ingest")
    idle_ms = seen.dispatch_idle_ms
    if now.inbox and (idle_ms is None or idle_ms >= DISPATCH_IDLE_MS):
        asked = "has ever asked" if idle_ms is None else f"has asked in the last {duration(idle_ms)}"
        what = f"{now.inbox} messages wait in the inbox, and no dispatcher {asked} for them"
        yield Finding("stalled", "dispatch", what, "start headrace dispatch, or kill one that hangs")
    waiting = now.queue + seen.scheduled + sum(worker.claimed + worker.started for worker in now.workers)
    if waiting and not any(worker.alive for worker in now.workers):
        yield Finding("stalled", "worker", f"{waiting} runs wait, and no worker lives", "start headrace worker")
    elif now.queue and seen.is_suspended:
        yield Finding("stalled", "worker", f"{now.queue} runs wait, and RQ has suspended the workers", "rq resume")


def _durability(durability: Durability) -> Iterator[Finding]:
    if durability.level == "reduced":
        fix = "set appendonly yes, appendfsync always and maxmemory-policy noeviction"
        yield Finding("durability", "redis", "; ".join(durability.reasons), fix)
