"""Jobs: looking at what was started, one by one."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.params import Parameter

from console.answers import as_json, as_text
from console.blocking import Blocking
from console.callers import Caller, Person, RunCaller, as_run
from console.described import ANYTHING, described
from console.errors import bad_request, forbidden, not_found
from console.needs import needs
from console.runs import Found, Runs
from console.strangers import read_json
from console.windmill import job_objects
from console.windmill.filtering import languages_of
from console.windmill.flow_status import find_step, flow_results, flow_status, has_ended
from console.windmill.lock_requests import read_lock
from console.workspace import Workspace
from shared.flow_nodes import all_logs
from shared.flow_show import read_steps
from shared.store import AsyncStore

LONGEST_RESULT: Final = 10_000
"""Characters, where nobody asks for more or less."""


class Progress(msgspec.Struct, frozen=True):
    """Body of set_progress."""

    percent: Annotated[int, msgspec.Meta(ge=0, le=100)]
    flow_job_id: str | None = None


@get("/jobs/worker_is_draining/{run_id:str}", opt=needs("read", runs=True))
async def worker_is_draining(run_id: str, runs: Runs, caller: Caller) -> bool:
    """Whether the worker of a run was asked to stop, so that a long run had better come to its end."""
    found = await runs.get(run_id, caller)
    return found.is_live and await runs.is_draining(found.worker)


@get("/jobs/flow/user_states/{run_id:str}/{key:str}", opt=needs("read", runs=True))
async def get_user_state(run_id: str, key: str, runs: Runs, caller: Caller) -> Response[bytes]:
    """What code of this flow has kept under a key; null where it has kept nothing."""
    return as_json(await runs.user_state((await _flow(run_id, runs, caller)).id, key))


@post(
    "/jobs/flow/user_states/{run_id:str}/{key:str}", status_code=200,
    opt=needs("operate", runs=True, people=False) | described(body=ANYTHING),
)  # fmt: skip
async def set_user_state(
    run_id: str, key: str, request: Request[Caller, None, Any], runs: Runs, caller: Caller
) -> Response[bytes]:
    """Keep any JSON under a key as long as the flow's run is kept: code of this flow alone may, while it runs."""
    found = await _flow(run_id, runs, caller)
    if not found.is_live:
        raise bad_request(f"job {run_id} has ended")
    value = msgspec.Raw(msgspec.json.encode(read_json(await request.body())))
    await runs.set_user_state(found.id, key, value)
    return as_json(None)


@get("/jobs_u/get/{run_id:str}", opt=needs("read", runs=True))
async def get_job(
    run_id: str, content: Workspace, runs: Runs, work: Blocking, caller: Caller, *, no_logs: bool = False
) -> dict[str, Any]:
    """A run as a job, with its log."""
    found = await runs.get(run_id, caller)
    job = await _job(found, content, work)
    return job if no_logs else job | {"logs": await runs.log(found)}


@get("/jobs_u/completed/get/{run_id:str}", opt=needs("read", runs=True))
async def get_completed(run_id: str, content: Workspace, runs: Runs, work: Blocking, caller: Caller) -> dict[str, Any]:
    """A run that has ended, as a job."""
    found = await _ended(run_id, runs, caller)
    return await _job(found, content, work) | {"logs": await runs.log(found)}


@get("/jobs_u/get_root_job_id/{run_id:str}", opt=needs("read", runs=True))
async def get_root_job_id(run_id: str, runs: Runs, caller: Caller) -> Response[bytes]:
    """The first run of the line that led to this one."""
    return as_json((await runs.get(run_id, caller)).details.root or run_id)


@get("/jobs_u/completed/get_result/{run_id:str}", opt=needs("read", runs=True))
async def get_result(run_id: str, runs: Runs, caller: Caller) -> Response[bytes]:
    """The result of a run that has ended."""
    return as_json(job_objects.result(await _ended(run_id, runs, caller)))


@get("/jobs_u/completed/get_result_maybe/{run_id:str}", opt=needs("read", runs=True))
async def get_result_maybe(run_id: str, runs: Runs, caller: Caller, store: AsyncStore) -> job_objects.ResultMaybe:
    """Whether a run has ended, and with what."""
    if isinstance(caller, Person) and (lock := await read_lock(store, run_id)) is not None:
        return lock
    return job_objects.result_maybe(await runs.get(run_id, caller))


@get("/jobs_u/get_logs/{run_id:str}", opt=needs("read", runs=True))
async def get_logs(run_id: str, runs: Runs, work: Blocking, caller: Caller) -> Response[str]:
    """What the code has printed; of a flow, that of its steps, whose job is the flow's own."""
    return as_text(await _logs(await runs.get(run_id, caller), runs, work))


@get("/jobs_u/get_args/{run_id:str}", opt=needs("read", runs=True))
async def get_args(run_id: str, runs: Runs, caller: Caller) -> Response[bytes]:
    """The arguments of `main`."""
    return as_json(job_objects.arguments(await runs.get(run_id, caller)))


@get("/jobs/result_by_id/{run_id:str}/{node:str}", opt=needs("read", runs=True))
async def result_by_id(run_id: str, node: str, runs: Runs, work: Blocking, caller: Caller) -> Response[bytes]:
    """The result of a step of a flow, once the step has ended."""
    found = await runs.get(run_id, caller)
    if not found.details.is_flow:
        raise bad_request(f"job {run_id} is not a flow: it has no step {node}")
    step = find_step(await work(read_steps, found.id, found.details.run.state), node)
    if step is None or not has_ended(step):
        raise not_found(f"job {run_id} has no result of a step {node}")
    return as_json(step.outcome)


@get("/jobs_u/get_flow_all_logs/{run_id:str}", opt=needs("read", runs=True))
async def get_all_logs(run_id: str, runs: Runs, work: Blocking, caller: Caller) -> Response[str]:
    """What each step has printed."""
    return as_text(await _logs(await runs.get(run_id, caller), runs, work))


@get("/jobs_u/get_flow_all_results/{run_id:str}", opt=needs("read", runs=True))
async def get_all_results(
    run_id: str, runs: Runs, work: Blocking, caller: Caller,
    max_result_len: Annotated[int, Parameter(ge=0)] = LONGEST_RESULT, step: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """What each step has come to, with as much of its result as is asked for."""
    found = await runs.get(run_id, caller)
    if not found.details.is_flow:
        raise bad_request(f"job {run_id} is not a flow: it has no steps")
    steps = await work(read_steps, found.id, found.details.run.state)
    return flow_results(steps, found.id, step, max_result_len)


@post("/job_metrics/set_progress/{run_id:str}", status_code=200, opt=needs("operate", runs=True, people=False))
async def set_progress(run_id: str, data: Progress, runs: Runs, caller: Caller) -> Response[bytes]:
    """Note how far the run that asks has come."""
    if run_id != as_run(caller).run_id:
        raise forbidden(f"{caller.name} may not set the progress of another job")
    await runs.set_progress(run_id, data.percent)
    return as_json(None)


@get("/job_metrics/get_progress/{run_id:str}", opt=needs("read", runs=True))
async def get_progress(run_id: str, runs: Runs, caller: Caller) -> Response[bytes]:
    """A percentage, null where none was set."""
    return as_json((await runs.get(run_id, caller)).progress)


async def _job(found: Found, content: Workspace, work: Blocking) -> dict[str, Any]:
    languages = await work(languages_of, [found])
    job = job_objects.job_object(found, content.name, languages.get(found.details.run.runnable_version or "", ""))
    if found.details.is_flow:
        job["flow_status"] = flow_status(await work(read_steps, found.id, found.details.run.state), found.id)
    return job


async def _logs(found: Found, runs: Runs, work: Blocking) -> str:
    logs = all_logs(await work(read_steps, found.id, found.details.run.state)) if found.details.is_flow else []
    return "".join(f"--- step {key}\n{log}" for key, log in logs) or await runs.log(found)


async def _ended(run_id: str, runs: Runs, caller: Caller) -> Found:
    """Raises Refusal (404) for one that has not."""
    found = await runs.get(run_id, caller)
    if found.is_live:
        raise not_found(f"Job {run_id} is not completed yet")
    return found


async def _flow(run_id: str, runs: Runs, caller: Caller) -> Found:
    """The run of a flow, also for what it has started. Raises Refusal (404, 403)."""
    family = await runs.family(caller)
    mine = family is not None and family.root == run_id
    found = await runs.get(run_id, RunCaller(run_id) if mine else caller)
    if not found.details.is_flow:
        raise not_found(f"job {run_id} is not a flow: only flows have user states")
    return found


routes = Router(
    "/",
    route_handlers=[
        worker_is_draining, get_user_state, set_user_state, get_job, get_completed, get_root_job_id, get_result,
        get_result_maybe, get_logs, get_args, result_by_id, get_all_logs, get_all_results,
        set_progress, get_progress,
    ],
)  # fmt: skip
