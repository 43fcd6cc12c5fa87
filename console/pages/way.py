"""A message's way: each thing that happened to it and when, with how long it took from one to the next. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from shared.history import RunDetails
from shared.run_page import attempt_outcome, made_by, milliseconds

_TO_COME: Final = {
    "queued": "a worker will start it",
    "scheduled": "it will be tried again",
    "suspended": "waits until somebody resumes or discards it",
    "running": "the code runs",
}


class Step(msgspec.Struct, frozen=True):
    """Something that happened, `wait_ms` after what is before it. `at` None: it is still to come."""

    name: str
    at: str | None
    said: str
    tone: str
    wait_ms: float | None = None


def way_of(details: RunDetails, placed_at: str | None) -> list[Step]:
    """The steps in the order of their times, and what comes next. `placed_at`: when the run was first queued."""
    run = details.run
    known = [*_coming_in(details, placed_at), *_attempts(details)]
    if run.state == "cancelled" and run.ended_at and not any(step.at == run.ended_at for step in known):
        known.append(Step("cancelled", run.ended_at, "", "idle"))
    steps = sorted((step for step in known if step.at), key=lambda step: step.at or "")
    timed = [
        msgspec.structs.replace(step, wait_ms=milliseconds(steps[index - 1].at, step.at) if index else None)
        for index, step in enumerate(steps)
    ]
    if run.state in _TO_COME:
        timed.append(Step("now", details.due_at if run.state == "scheduled" else None, _TO_COME[run.state], "idle"))
    return timed


def _coming_in(details: RunDetails, placed_at: str | None) -> Iterator[Step]:
    run = details.run
    if run.received_at:
        yield Step("received", run.received_at, "from the broker", "busy")
    if run.admitted_at:
        yield Step("admitted", run.admitted_at, "stored: the broker may be answered", "busy")
    made = "a run was made of it" if details.message is not None else made_by(details)
    placed = placed_at or run.queued_at
    yield Step("placed", placed, made, "busy")
    if run.queued_at and run.state == "queued" and run.attempts:
        yield Step("queued again", run.queued_at, "by hand" if run.source == "redrive" else "", "busy")


def _attempts(details: RunDetails) -> Iterator[Step]:
    run = details.run
    ended = run.attempts - (run.state == "running")
    for index, attempt in enumerate(details.attempts, start=ended - len(details.attempts) + 1):
        worker = attempt.execution_id.partition("-")[0]
        yield Step(_name(index, run.attempts), attempt.started_at, f"by worker {worker}" if worker else "", "busy")
        yield Step("ended", attempt.ended_at, attempt_outcome(attempt), "bad" if attempt.error is not None else "ok")
    if run.state == "running":
        yield Step(_name(run.attempts, run.attempts), run.started_at, "", "busy")


def _name(index: int, attempts: int) -> str:
    return "started" if attempts == 1 else f"attempt {index}"
