"""The legs of a message's way that end in a worker, measured for all runs of a round trip together.

Neighbours mostly have everything in common: trigger, moment of placement or receipt, outcome. So they are counted as
long as it stays the same, which costs a run a fraction of a microsecond.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache

from shared.metrics.catalogue import ATTEMPTS, END_TO_END, EXECUTION, WAIT
from shared.metrics.instruments import NO_TRIGGER, Distribution
from shared.runs import TERMINAL
from worker.jobs import Job
from worker.outcomes import Ended

_UNCOUNTED = "-"
_MS_PER_S = 1000
_OUTCOMES = {"recovered": "succeeded"}
_ENDED = frozenset(TERMINAL)


def measure_started(jobs: Sequence[Job]) -> None:
    """These runs' starts are recorded."""
    now_s = time.time()
    path, queued_at, count = "", b"", 0
    for job in jobs:
        its_path = job.spec.trigger if job.spec else ""
        if job.claim.queued_at != queued_at or its_path != path:
            _waited(path, queued_at, count, now_s)
            path, queued_at, count = its_path, job.claim.queued_at, 0
        count += 1
    _waited(path, queued_at, count, now_s)


def measure_ended(told: Sequence[Ended], states: Sequence[str], at_ms: int) -> None:
    """These attempts are recorded as ended at this time (epoch ms), and their runs are in these states now."""
    path, outcome, state = "", "", ""
    group: list[Ended] = []
    for ended, its_state in zip(told, states, strict=True):
        spec = ended.job.spec
        its_path = spec.trigger if spec else ""
        if its_state != state or ended.ending.outcome != outcome or its_path != path:
            _ended(path, outcome, state, group, at_ms)
            path, outcome, state, group = its_path, ended.ending.outcome, its_state, []
        group.append(ended)
    _ended(path, outcome, state, group, at_ms)


def _waited(path: str, queued_at: bytes, count: int, now_s: float) -> None:
    if count and (queued_s := _epoch_s(queued_at)) is not None:
        WAIT.of(path or NO_TRIGGER).observe(now_s - queued_s, count)


def _ended(path: str, outcome: str, state: str, group: Sequence[Ended], at_ms: int) -> None:
    if not group:
        return
    trigger = path or NO_TRIGGER
    ATTEMPTS.of(trigger, _OUTCOMES.get(outcome, outcome)).add(len(group))
    EXECUTION.of(trigger).observe_all([each.duration_s for each in group if each.duration_s is not None])
    if state in _ENDED:
        _arrived(END_TO_END.of(trigger), group, at_ms)


def _arrived(durations: Distribution, group: Sequence[Ended], at_ms: int) -> None:
    """Only of what a message has made, and nobody has run again: that was received long ago."""
    received_at, count = 0, 0
    for each in group:
        message = each.job.message
        if message is None or each.job.claim.counted == _UNCOUNTED:
            continue
        if message.received_at != received_at:
            if count:
                durations.observe((at_ms - received_at) / _MS_PER_S, count)
            received_at, count = message.received_at, 0
        count += 1
    if count:
        durations.observe((at_ms - received_at) / _MS_PER_S, count)


@lru_cache(64)
def _epoch_s(text: bytes) -> float | None:
    """None: whoever has queued the run has not said when."""
    try:
        return datetime.fromisoformat(text.decode()).timestamp()
    except ValueError:
        return None
