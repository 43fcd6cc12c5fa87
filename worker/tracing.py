"""The span of each attempt of a run: how long its code took, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable

from shared.clock import NS_PER_S
from shared.tracing.runs import TracedRun, attempt_span, parent_context
from shared.tracing.spans import Kind, Span, Value, record
from worker.jobs import Job
from worker.outcomes import Ended

_GOOD = frozenset({"succeeded", "recovered"})


def traced(job: Job) -> TracedRun | None:
    """The attempt, as its trace is told from; None for a job that is not ours."""
    if job.spec is None:
        return None
    return TracedRun(job.claim.run_id, job.claim.execution, job.spec, job.message)


class Traced:
    """Hands endings on to `report`, having recorded their spans."""

    def __init__(self, report: Callable[[Ended], None]) -> None:
        self._report = report

    def report(self, ended: Ended) -> None:
        """Report an ending."""
        self._record(ended)
        self._report(ended)

    def _record(self, ended: Ended) -> None:
        job, run = ended.job, traced(ended.job)
        parent = parent_context(run) if run else None
        if run is None or parent is None or not parent.is_sampled:
            return
        outcome = ended.ending.outcome
        about: dict[str, Value] = {
            "headrace.run": run.run_id,
            "headrace.trigger": run.spec.trigger,
            "headrace.runnable": run.spec.runnable,
            "headrace.runnable_version": run.spec.runnable_version,
            "headrace.attempt": job.attempt,
            "headrace.outcome": outcome,
        }
        if run.message is not None:
            about |= {
                "messaging.system": "mqtt",
                "messaging.operation.name": "process",
                "messaging.operation.type": "process",
                "messaging.destination.name": run.message.topic,
                "mqtt.qos": run.message.qos,
            }
        now_ns = time.time_ns()
        began_ns = now_ns - int((ended.duration_s or 0) * NS_PER_S)
        span = parent.below(attempt_span(run.execution))
        error = "" if outcome in _GOOD else str(ended.detail.get("error") or ended.detail.get("reason") or outcome)
        kind: Kind = "consumer" if run.message is not None else "internal"
        record(Span(f"run {run.spec.runnable}", kind, span, parent.span_id, began_ns, now_ns, about, error))
