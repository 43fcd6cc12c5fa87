"""What the console tells of the whole: from what Redis holds at one instant to readings. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from shared.definitions import Trigger
from shared.metrics import catalogue
from shared.metrics.instruments import OTHER, SERIES_MAX, Reading, Spec
from shared.runs import LIVE, TERMINAL
from shared.scripts.operate import Snapshot
from shared.status import IDENTITIES, check_identities, oldest_age_ms, session_status

SESSION_STATES: Final = (
    "connecting", "connected", "reconnecting", "refused", "taken_over", "draining", "stopped", "ended", "waiting",
    "disabled",
)  # fmt: skip
WORKER_STATES: Final = ("starting", "started", "idle", "busy", "suspended", "dead")
DURABILITIES: Final = ("full", "reduced", "unknown")
_ADMISSION: Final = IDENTITIES["admit"][1]
_UNSENT: Final = ("outbox", "unsent")
_UNPLACED: Final = ("inbox", "unrouted", "poisoned")
_MS_PER_S: Final = 1000

Cells = Mapping[str, int]


class Facts(msgspec.Struct, frozen=True):
    """What is asked of Redis beside the snapshot. `triggers` are those that are deployed, by path."""

    triggers: Mapping[str, Trigger]
    pending: int
    scheduled: int
    handlers: int
    durability: str


def readings(found: Snapshot | None, facts: Facts | None) -> list[Reading]:
    """All that the console tells of the whole; None: Redis cannot be reached."""
    if found is None or facts is None:
        return [_one(catalogue.REDIS_UP, 0)]
    cells = _bounded(found.counters, facts.triggers)
    return [
        _one(catalogue.REDIS_UP, 1),
        *_books(cells),
        Reading(catalogue.BALANCED, [((name,), float(holds)) for name, holds in _balanced(cells).items()]),
        _one(catalogue.INBOX, found.inbox),
        _one(catalogue.PENDING, facts.pending),
        _one(catalogue.QUEUE, found.queue),
        _one(catalogue.CLAIMED, sum(worker.claimed for worker in found.workers)),
        _one(catalogue.RUNNING, found.started),
        _one(catalogue.SCHEDULED, facts.scheduled),
        _one(catalogue.HANDLERS, facts.handlers),
        _one(catalogue.OLDEST, (oldest_age_ms(found) or 0) / _MS_PER_S),
        _one(catalogue.DEAD, found.dead),
        *_sessions(found, facts.triggers),
        _workers(found),
        _one(catalogue.DEPLOYMENT, int(found.deployment.get("number", 0))),
        Reading(catalogue.DURABILITY, [((level,), float(level == facts.durability)) for level in DURABILITIES]),
    ]


def _one(spec: Spec, value: float) -> Reading:
    return Reading(spec, [((), float(value))])


def _books(cells: Mapping[str, Cells]) -> list[Reading]:
    def of(spec: Spec, cell: str) -> Reading:
        return Reading(spec, [((path,), float(counted.get(cell, 0))) for path, counted in cells.items()])

    def by(spec: Spec, names: Iterable[str]) -> Reading:
        values = [((path, name), float(counted.get(name, 0))) for path, counted in cells.items() for name in names]
        return Reading(spec, values)

    return [
        of(catalogue.RECEIVED, "received"),
        by(catalogue.ADMISSION, _ADMISSION),
        of(catalogue.PLACED, "placed"),
        of(catalogue.REPEATED, "repeated"),
        by(catalogue.UNPLACED, _UNPLACED),
        of(catalogue.RUNS_PLACED, "runs"),
        by(catalogue.RUNS, (*LIVE, *TERMINAL)),
        of(catalogue.SAID, "said"),
        of(catalogue.SENT, "sent"),
        by(catalogue.UNSENT, _UNSENT),
        of(catalogue.LATE, "late"),
        of(catalogue.DROPPED, "dead_dropped"),
    ]


def _balanced(cells: Mapping[str, Cells]) -> dict[str, bool]:
    balanced: dict[str, bool] = {}
    for counted in cells.values():
        for identity in check_identities(None, dict(counted)):
            balanced[identity.name] = balanced.get(identity.name, True) and identity.holds
    return balanced


def _bounded(counters: Mapping[str, Cells], deployed: Mapping[str, Trigger]) -> dict[str, Cells]:
    """The cells by trigger, those that are deployed first; the many that may have been once, are one together."""
    paths = [*sorted(deployed), *sorted(counters.keys() - deployed.keys())]
    bounded: dict[str, Cells] = {path: counters.get(path, {}) for path in paths[:SERIES_MAX]}
    rest: Counter[str] = Counter()
    for path in paths[SERIES_MAX:]:
        rest.update(counters.get(path, {}))
    return bounded | ({OTHER: rest} if rest else {})


def _sessions(found: Snapshot, triggers: Mapping[str, Trigger]) -> list[Reading]:
    of = [
        session_status(triggers[path], found.sessions.get(triggers[path].session))
        for path in sorted(triggers)[:SERIES_MAX]
    ]
    states = [
        ((each.trigger, state), float(state == each.state.replace(" ", "_"))) for each in of for state in SESSION_STATES
    ]
    return [
        Reading(catalogue.SESSION_STATE, states),
        Reading(catalogue.SESSION_CONNECTIONS, [((each.trigger,), float(each.connection)) for each in of]),
        Reading(catalogue.SESSION_EPOCH, [((each.trigger,), float(each.epoch)) for each in of]),
        Reading(catalogue.SESSION_INFLIGHT, [((each.trigger,), float(each.inflight)) for each in of]),
    ]


def _workers(found: Snapshot) -> Reading:
    counted = Counter(
        (worker.fields.get("state") or "starting") if worker.alive else "dead" for worker in found.workers
    )
    return Reading(catalogue.WORKERS, [((name,), float(counted[name])) for name in WORKER_STATES])
