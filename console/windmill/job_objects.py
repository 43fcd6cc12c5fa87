"""Runs in Windmill's words: its CompletedJob and QueuedJob, and results as its clients read them. Pure.

Keys whose null makes Windmill's own client fail are left out instead.
"""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from console.runs import Found
from console.windmill.identity import EMAIL, PERMISSIONED_AS, USERNAME, email_of, username_of
from shared.run_page import milliseconds

_FATES = {
    "lost": ("Lost", "the worker died, and a QoS 0 run is not started again"),
    "interrupted": ("Interrupted", "the worker died while the code ran, and the run is not started again on its own"),
    "cancelled": ("Canceled", "Job canceled"),
    "expired": ("Expired", "the message expired before the code started"),
    "filtered": ("Filtered", "a filter of the trigger refused the message"),
}
"""Ends that the code did not bring about itself: an error's name and message where none is recorded."""


class ResultMaybe(msgspec.Struct, frozen=True):
    """The answer of get_result_maybe: a client that waits indexes all four."""

    completed: bool
    result: Any
    success: bool | None
    started: bool


def job_object(found: Found, workspace: str, language: str = "", *, with_result: bool = True) -> dict[str, Any]:
    """The run as a job: a CompletedJob once it has ended, a QueuedJob before. A list goes without args and results.

    `language` is that of its script, where it is known.
    """
    run = found.details.run
    job: dict[str, Any] = {
        "type": "QueuedJob" if found.is_live else "CompletedJob",
        "id": run.id,
        "workspace_id": workspace,
        "job_kind": _kind(found),
        "script_path": run.runnable,
        "script_hash": run.runnable_version,
        "created_by": run.created_by or (f"mqtt-{run.trigger}" if run.trigger else USERNAME),
        "created_at": run.created_at,
        "started_at": run.started_at,
        "parent_job": found.details.parent,
        "root_job": found.details.root,
        "canceled": run.state == "cancelled",
        "is_flow_step": False,
        "permissioned_as": f"u/{username_of(run.created_by)}" if run.created_by else PERMISSIONED_AS,
        "email": email_of(run.created_by) if run.created_by else EMAIL,
        "visible_to_owner": True,
        "tag": language or ("flow" if found.details.is_flow else "python3"),
        "language": language or None,
        "worker": found.worker or None,
        "labels": run.labels,
    }
    if run.trigger:
        job |= {"trigger_kind": "mqtt", "trigger": run.trigger}
    if run.state == "cancelled":
        job |= {"canceled_by": found.cancelled_by or None, "canceled_reason": found.cancel_reason or None}
    if found.resolved_at:
        job |= {"resolved": True, "resolved_at": found.resolved_at, "resolved_by": found.resolved_by}
        job["resolution_note"] = found.resolved_note or None
    if preprocessed(found) is not None:
        job["preprocessed"] = True
    if with_result:
        job["args"] = arguments(found)
    job |= _waiting(found) if found.is_live else _ended(found, with_result=with_result)
    return {key: value for key, value in job.items() if value is not None or key == "result"}


def arguments(found: Found) -> dict[str, Any]:
    """What `main` was given: by whoever started it, or by the preprocessor; else the payload as Windmill has it."""
    if found.details.args is not None:
        return found.details.args
    if (made := preprocessed(found)) is not None:
        return made
    message = found.details.message
    return {"payload": base64.b64encode(message.payload).decode()} if message else {}


def preprocessed(found: Found) -> dict[str, Any] | None:
    """What the preprocessor has made of the message, once an attempt has ended; as a flow takes what is no object."""
    made = next((each.arguments for each in reversed(found.details.attempts) if each.arguments is not None), None)
    return made if made is None or isinstance(made, dict) else {"value": made}


def result(found: Found) -> Any:
    """The result of a run that has ended; of one that did not succeed, an object with `error`."""
    run = found.details.run
    if run.state == "succeeded":
        return run.result
    kept = run.result if isinstance(run.result, dict) else {}
    return kept | {"error": _error(found)}


def result_maybe(found: Found) -> ResultMaybe:
    """The result, if there is one yet."""
    run = found.details.run
    if found.is_live:
        return ResultMaybe(completed=False, result=None, success=None, started=run.state == "running")
    return ResultMaybe(completed=True, result=result(found), success=run.state == "succeeded", started=True)


def _waiting(found: Found) -> dict[str, Any]:
    run = found.details.run
    return {"running": run.state == "running", "scheduled_for": found.details.due_at or run.queued_at}


def _kind(found: Found) -> str:
    """In Windmill's words; a run that waits to be resumed is assigned to nobody."""
    if found.details.origin == "preview":
        return "flowpreview" if found.details.is_flow else "preview"
    kind = "flow" if found.details.is_flow else "script"
    return f"unassigned_{kind}" if found.details.run.state == "suspended" else kind


def _ended(found: Found, *, with_result: bool) -> dict[str, Any]:
    run = found.details.run
    ended: dict[str, Any] = {
        "success": run.state == "succeeded",
        "started_at": run.started_at or run.ended_at,  # one that was cancelled in the queue has never started
        "completed_at": run.ended_at,
        "duration_ms": round(milliseconds(run.started_at, run.ended_at) or 0),
        "is_skipped": run.state in {"filtered", "expired"},
    }
    return ended | {"result": result(found)} if with_result else ended


def _error(found: Found) -> dict[str, Any]:
    run = found.details.run
    if run.state == "cancelled":
        who, why = found.cancelled_by or "unknown", found.cancel_reason
        message = f"Job canceled: {why} by {who}" if why else f"Job canceled by {who}"
        return {"name": "Canceled", "message": message, "reason": why, "canceler": who}
    if run.error is not None:
        return run.error
    name, message = _FATES.get(run.state, ("UnknownError", "the run ended badly, and nothing says why"))
    return {"name": name, "message": message, "stack": ""}
