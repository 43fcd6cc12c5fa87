"""Runs in Windmill's words: what each of its clients reads of them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from console.runs import Found
from console.windmill.job_objects import ResultMaybe, arguments, job_object, result, result_maybe
from shared.history import RunDetails
from shared.run_record import Attempt, Run
from tests.support.factories import make_envelope

QUEUED, STARTED, ENDED = (f"2026-01-02T03:04:05.{ms}Z" for ms in ("000", "010", "050"))
NULL_CRASHES = {"completed_at", "args", "flow_status", "raw_flow", "language", "trigger_kind", "type", "created_at"}
"""Keys that Windmill's client cannot read as null."""
COMPLETED = {
    "id", "created_by", "created_at", "started_at", "duration_ms", "success", "canceled", "job_kind", "permissioned_as",
    "is_flow_step", "is_skipped", "email", "visible_to_owner", "tag",
}  # fmt: skip
QUEUED_JOB = {
    "id", "running", "canceled", "job_kind", "permissioned_as", "is_flow_step", "email", "visible_to_owner", "tag",
}  # fmt: skip


def found(state: str, *, message: bool = False, **changes: Any) -> Found:
    """A run in this state."""
    fields: dict[str, Any] = {
        "id": "q2-api-1", "state": state, "trigger": "f/t/trigger" if message else "", "runnable": "f/t/child",
        "topic": None, "qos": 2, "idempotency_key": "api-1", "attempts": 1, "received_at": None, "queued_at": QUEUED,
        "started_at": STARTED, "ended_at": ENDED, "result": None, "error": None, "payload_size": None,
        "runnable_version": "0" * 16, "labels": [], "source": "child",
        "created_at": QUEUED, "worker": "0123abcd",
    }  # fmt: skip
    extra: dict[str, Any] = {name: changes.pop(name) for name in ("cancelled_by", "cancel_reason") if name in changes}
    run = Run(**(fields | changes))
    envelope = make_envelope() if message else None
    args = None if message else {"t": 21.5}
    details = RunDetails(run, envelope, {}, [], args, "child", "q1-parent", "q1-root")
    return Found(details, **({"cancelled_by": "", "cancel_reason": "", "progress": None} | extra))


@pytest.mark.parametrize("state", ["succeeded", "failed", "lost", "interrupted", "cancelled"])
def test_a_run_that_has_ended_is_a_completed_job(state: str) -> None:
    """With every key that the client insists on, and no null that it cannot bear."""
    job = job_object(found(state), "headrace")

    assert job["type"] == "CompletedJob"
    assert job.keys() >= COMPLETED
    assert not {key for key, value in job.items() if value is None} & NULL_CRASHES
    assert (job["success"], job["canceled"]) == (state == "succeeded", state == "cancelled")
    assert (job["duration_ms"], job["parent_job"], job["root_job"]) == (40, "q1-parent", "q1-root")


@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_run_that_has_not_ended_is_a_queued_job(state: str) -> None:
    """One that is queued has not started, and says nothing about a start."""
    started = STARTED if state == "running" else None
    job = job_object(found(state, started_at=started, ended_at=None), "headrace")

    assert (job["type"], job["running"]) == ("QueuedJob", state == "running")
    assert job.keys() >= QUEUED_JOB
    assert ("started_at" in job) == (state == "running")
    assert None not in job.values()


def test_a_run_of_a_message_has_its_trigger_and_its_payload_in_base64() -> None:
    """As Windmill hands it over."""
    job = job_object(found("succeeded", message=True), "headrace")

    assert (job["trigger_kind"], job["trigger"]) == ("mqtt", "f/t/trigger")
    assert job["created_by"] == "mqtt-f/t/trigger"
    assert job["args"] == {"payload": "MjEuNQ=="}


@pytest.mark.parametrize("made, args", [({"t": 21.5}, {"t": 21.5}), ([1], {"value": [1]})])
def test_what_a_preprocessor_has_made_are_the_arguments(made: Any, args: dict[str, Any]) -> None:
    """Of the newest attempt that has got so far; a flow takes what is no object under a name."""
    run = found("succeeded", message=True)
    attempts = [
        Attempt("failed", None, None, "1", arguments={"t": 0}),
        Attempt("succeeded", None, None, "2", arguments=made),
    ]
    run = msgspec.structs.replace(
        run, details=msgspec.structs.replace(run.details, attempts=[*attempts, Attempt("lost", None, None, "3")])
    )

    job = job_object(run, "headrace")
    assert (job["args"], job["preprocessed"]) == (args, True)
    assert "preprocessed" not in job_object(found("succeeded", message=True), "headrace")


def test_a_list_goes_without_arguments_and_results() -> None:
    """They may be large."""
    job = job_object(found("succeeded", result=[1]), "headrace", with_result=False)

    assert not {"args", "result"} & job.keys()


def test_a_result_of_null_is_there() -> None:
    """A client indexes it."""
    assert job_object(found("succeeded"), "headrace")["result"] is None
    assert arguments(found("succeeded")) == {"t": 21.5}


def test_waiting_clients_get_all_four_keys() -> None:
    """Before the start, while it is executed, after its end."""
    queued, running = found("queued", started_at=None, ended_at=None), found("running", ended_at=None)
    ended = found("succeeded", result={"t": 1})

    assert result_maybe(queued) == ResultMaybe(completed=False, result=None, success=None, started=False)
    assert result_maybe(running) == ResultMaybe(completed=False, result=None, success=None, started=True)
    assert result_maybe(ended) == ResultMaybe(completed=True, result={"t": 1}, success=True, started=True)


def test_an_error_is_a_result_with_error() -> None:
    """What the code has returned beside it is kept (`wm_failure`)."""
    error = {"name": "ValueError", "message": "too hot", "stack": ""}

    assert result(found("failed", error=error)) == {"error": error}
    assert result(found("failed", error=error, result={"t": 101})) == {"t": 101, "error": error}


def test_a_cancelled_run_says_who_and_why() -> None:
    """Also where it was never said."""
    error = result(found("cancelled", cancelled_by="run q1-x", cancel_reason="enough"))["error"]

    assert error == {
        "name": "Canceled",
        "message": "Job canceled: enough by run q1-x",
        "reason": "enough",
        "canceler": "run q1-x",
    }
    assert result(found("cancelled"))["error"]["message"] == "Job canceled by unknown"


@pytest.mark.parametrize("state,name", [("lost", "Lost"), ("interrupted", "Interrupted"), ("failed", "UnknownError")])
def test_an_end_without_a_recorded_error_has_one_nevertheless(state: str, name: str) -> None:
    """A client that waits raises what it finds there."""
    assert result(found(state))["error"]["name"] == name
