"""The legs of a message's way that end in a worker: measured for many runs at a time, half a microsecond each."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from shared.metrics.catalogue import ATTEMPTS, END_TO_END, EXECUTION, WAIT
from shared.metrics.instruments import NO_TRIGGER
from shared.runs import TERMINAL
from worker.jobs import Job
from worker.outcomes import Ended

_UNCOUNTED = "-"
_MS_PER_S = 1000
_OUTCOMES = {"recovered": "succeeded"}
_ENDED = frozenset(TERMINAL)


def measure_started(jobs: Sequence[Job]) -> None:
    """These runs' starts are recorded. Many were queued at the same moment: those of one placement."""
    now_s = time.time()
    for (trigger, queued_at), count in Counter([(_trigger(job), job.claim.queued_at) for job in jobs]).items():
        try:
            waited_s = now_s - datetime.fromisoformat(queued_at.decode()).timestamp()
        except ValueError:  # whoever queued it has not said when
            continue
        WAIT.of(trigger).observe(waited_s, count)


class _Group:
    """Attempts of one trigger with one outcome, and their runs in one state."""

    __slots__ = ("count", "durations_s", "received_at")

    def __init__(self) -> None:
        self.count = 0
        self.durations_s: list[float] = []
        self.received_at: list[int] = []


def measure_ended(told: Sequence[Ended], states: Sequence[str], at_ms: int) -> None:
    """These attempts are recorded as ended at this time (epoch ms), and their runs are in these states now."""
    groups: dict[tuple[str, str, str], _Group] = {}
    before = "", "", ""
    group = _Group()
    for ended, state in zip(told, states, strict=True):
        job = ended.job
        key = job.spec.trigger if job.spec else "", ended.ending.outcome, state
        if key != before:
            before, group = key, groups.setdefault(key, _Group())
        group.count += 1
        if ended.duration_s is not None:
            group.durations_s.append(ended.duration_s)
        if job.message is not None and job.claim.counted != _UNCOUNTED:
            group.received_at.append(job.message.received_at)
    for (path, outcome, state), each in groups.items():
        trigger = path or NO_TRIGGER
        ATTEMPTS.of(trigger, _OUTCOMES.get(outcome, outcome)).add(each.count)
        EXECUTION.of(trigger).observe_all(each.durations_s)
        if state in _ENDED:
            for received_at, count in Counter(each.received_at).items():
                END_TO_END.of(trigger).observe((at_ms - received_at) / _MS_PER_S, count)


def _trigger(job: Job) -> str:
    return (job.spec.trigger if job.spec else "") or NO_TRIGGER
