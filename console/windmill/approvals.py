"""Approvals: a flow with a step that waits for one is refused when it is deployed, so that no job waits for any."""

from __future__ import annotations

from typing import Any

from litestar import Response, Router, get, post

from console.callers import Caller
from console.errors import bad_request
from console.needs import needs
from console.runs import Runs


@get(
    [
        "/jobs/resume_urls/{run_id:str}/{resume_id:str}",
        "/jobs/job_signature/{run_id:str}/{resume_id:str}",
        "/jobs/wac_approval_urls/{run_id:str}/{resume_id:str}",
        "/jobs/slack_approval/{run_id:str}",
        "/jobs/teams_approval/{run_id:str}",
        "/jobs_u/flow/approval_info/{run_id:str}",
        "/jobs_u/get_flow/{run_id:str}/{resume_id:str}/{signature:str}",
        "/jobs_u/resume/{run_id:str}/{resume_id:str}/{signature:str}",
        "/jobs_u/cancel/{run_id:str}/{resume_id:str}/{signature:str}",
    ],
    opt=needs("operate", runs=True),
)
async def ask_for_approval(run_id: str, runs: Runs, caller: Caller) -> Response[Any]:
    """Always 400, and 404 for a job that there is not."""
    await runs.get(run_id, caller)
    raise _nobody_waits(run_id)


@post(
    [
        "/jobs/flow/resume/{run_id:str}",
        "/jobs_u/flow/resume_suspended/{run_id:str}",
        "/jobs_u/resume/{run_id:str}/{resume_id:str}/{signature:str}",
        "/jobs_u/cancel/{run_id:str}/{resume_id:str}/{signature:str}",
    ],
    status_code=200,
    opt=needs("operate", runs=True, audited=False),
)
async def approve(run_id: str, runs: Runs, caller: Caller) -> Response[Any]:
    """The same."""
    await runs.get(run_id, caller)
    raise _nobody_waits(run_id)


def _nobody_waits(run_id: str) -> Exception:
    return bad_request(
        f"job {run_id} waits for no approval: a flow with suspend (a step that waits for one) is refused when it is "
        "deployed; a trigger that is suspended is resumed with trigger/mqtt/resume_suspended_trigger_jobs"
    )


routes = Router("/", route_handlers=[ask_for_approval, approve])
