"""What the doctor says of a run whose records disagree."""

from __future__ import annotations

import pytest

from shared import keys
from shared.doctor_runs import Found, difference
from shared.runs import RQ_REGISTRY, RQ_STATUS


def found(status: str, state: str, *registries: str, is_queued: bool = False) -> Found:
    """A run, as Redis has it."""
    return Found("q1-s-1-1", status, state, frozenset(registries), is_queued)


@pytest.mark.parametrize("state", RQ_STATUS)
def test_a_run_in_its_own_registry_with_its_own_status_is_as_it_should_be(state: str) -> None:
    """Whatever its state."""
    registry = [RQ_REGISTRY[state]] if state in RQ_REGISTRY else []
    assert difference(found(RQ_STATUS[state], state, *registry)) is None


@pytest.mark.parametrize(
    "run, said",
    [
        (found("queued", "scheduled", keys.RQ_SCHEDULED), "is scheduled, and RQ has it as queued"),
        (found("scheduled", "scheduled"), "is in no registry, its state is scheduled"),
        (found("finished", "succeeded", keys.RQ_FINISHED, keys.RQ_FAILED), "its state is succeeded"),
        (found("queued", "queued", keys.RQ_FAILED), "is in rq:failed:headrace, its state is queued"),
        (found("finished", "succeeded", keys.RQ_FINISHED, is_queued=True), "is in the queue, its state is succeeded"),
        (found("", "", keys.RQ_FINISHED), "its record is gone"),
        (found("queued", "sleeping"), "the state sleeping, which does not exist"),
    ],
)
def test_what_disagrees_is_said_with_both_sides(run: Found, said: str) -> None:
    """So that a person knows which of them to doubt."""
    text = difference(run)
    assert text is not None
    assert said in text


@pytest.mark.parametrize(
    "run",
    [
        found("stopped", "cancelled", keys.RQ_CANCELED),
        found("canceled", "queued", keys.RQ_CANCELED),
        found("queued", "failed", is_queued=True),
        found("canceled", "cancelled", keys.RQ_CANCELED, is_queued=True),
        found("", ""),
    ],
)
def test_what_rqs_tools_do_is_no_disagreement(run: Found) -> None:
    """A sweep or a claim adopts it."""
    assert difference(run) is None
