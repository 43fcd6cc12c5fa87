"""Jobs: starting scripts, looking after what was started."""

from __future__ import annotations

import math
from typing import Annotated, Any

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.params import Parameter

from console.answers import as_json, as_text, created
from console.callers import Caller, as_run
from console.errors import bad_request, forbidden, not_found
from console.needs import needs
from console.runs import Found, Runs
from console.windmill import job_objects
from console.workspace import Workspace
from shared.config import Settings
from shared.create_runs import Family, Origin, make_run
from shared.definitions import Flow, Script
from shared.tracing.context import parse
from shared.tracing.runs import carried

PER_PAGE = 100
_UNSUPPORTED = ("scheduled_for", "scheduled_in_secs", "retry", "job_id")


class Reason(msgspec.Struct, frozen=True):
    """Body of cancel."""

    reason: str | None = None


class Progress(msgspec.Struct, frozen=True):
    """Body of set_progress."""

    percent: Annotated[int, msgspec.Meta(ge=0, le=100)]
    flow_job_id: str | None = None


@post("/jobs/run/p/{path:path}", opt=needs("operate", runs=True))
async def run_by_path(
    path: str, request: Request[Caller, None, Any], content: Workspace, runs: Runs, settings: Settings
) -> Response[str]:
    """Queue a run of the version of a script that is deployed now; answers with its id."""
    version, script = await content.script(path.strip("/"))
    return await _queue(version, script, request, content, runs, settings)


@post("/jobs/run/h/{version:str}", opt=needs("operate", runs=True))
async def run_by_hash(
    version: str, request: Request[Caller, None, Any], content: Workspace, runs: Runs, settings: Settings
) -> Response[str]:
    """Queue a run of a version of a script; answers with its id."""
    return await _queue(version, await content.script_version(version), request, content, runs, settings)


@post("/jobs/run/f/{path:path}", opt=needs("operate", runs=True))
async def run_flow(
    path: str, request: Request[Caller, None, Any], content: Workspace, runs: Runs, settings: Settings
) -> Response[str]:
    """Queue a run of the version of a flow that is deployed now; answers with its id."""
    version, flow = await content.flow(path.strip("/"))
    return await _queue(version, flow, request, content, runs, settings)


@get("/jobs/list", opt=needs("read", runs=True))
async def list_jobs(
    content: Workspace,
    runs: Runs,
    caller: Caller,
    script_path_exact: str | None = None,
    script_path_start: str = "",
    per_page: Annotated[int, Parameter(ge=1, le=PER_PAGE)] = PER_PAGE,
    *,
    running: bool | None = None,
) -> list[dict[str, Any]]:
    """What the caller may see, newest first, without arguments and results: a run itself and what it has started."""

    def is_wanted(found: Found) -> bool:
        run = found.details.run
        return (
            script_path_exact in {None, run.runnable}
            and (run.runnable or "").startswith(script_path_start)
            and running in {None, run.state == "running"}
        )

    jobs: list[dict[str, Any]] = []
    async for found in runs.visible(caller):
        if is_wanted(found):
            jobs.append(job_objects.job_object(found, content.name, with_result=False))
        if len(jobs) == per_page:
            break
    return jobs


@get("/jobs/worker_is_draining/{run_id:str}", opt=needs("read", runs=True))
async def worker_is_draining(run_id: str, runs: Runs, caller: Caller) -> bool:
    """Whether the worker of a run was asked to stop, so that a long run had better come to its end."""
    found = await runs.get(run_id, caller)
    return found.is_live and await runs.is_draining(found.worker)


@get("/jobs/flow/user_states/{run_id:str}/{key:str}", opt=needs("read", runs=True))
async def get_user_state(run_id: str, key: str, runs: Runs, caller: Caller) -> Response[bytes]:
    """Only flows have user states, and no run is one yet."""
    raise await _no_flow(run_id, key, runs, caller)


@post("/jobs/flow/user_states/{run_id:str}/{key:str}", opt=needs("operate", runs=True, people=False))
async def set_user_state(run_id: str, key: str, runs: Runs, caller: Caller) -> Response[bytes]:
    """As `get_user_state`."""
    raise await _no_flow(run_id, key, runs, caller)


@get("/jobs_u/get/{run_id:str}", opt=needs("read", runs=True))
async def get_job(run_id: str, content: Workspace, runs: Runs, caller: Caller) -> dict[str, Any]:
    """A run as a job."""
    return job_objects.job_object(await runs.get(run_id, caller), content.name)


@get("/jobs_u/get_root_job_id/{run_id:str}", opt=needs("read", runs=True))
async def get_root_job_id(run_id: str, runs: Runs, caller: Caller) -> Response[bytes]:
    """The first run of the line that led to this one."""
    return as_json((await runs.get(run_id, caller)).details.root or run_id)


@get("/jobs_u/completed/get_result/{run_id:str}", opt=needs("read", runs=True))
async def get_result(run_id: str, runs: Runs, caller: Caller) -> Response[bytes]:
    """The result of a run that has ended."""
    found = await runs.get(run_id, caller)
    if found.is_live:
        raise not_found(f"Job {run_id} is not completed yet")
    return as_json(job_objects.result(found))


@get("/jobs_u/completed/get_result_maybe/{run_id:str}", opt=needs("read", runs=True))
async def get_result_maybe(run_id: str, runs: Runs, caller: Caller) -> job_objects.ResultMaybe:
    """Whether a run has ended, and with what."""
    return job_objects.result_maybe(await runs.get(run_id, caller))


@post("/jobs_u/queue/cancel/{run_id:str}", status_code=200, opt=needs("operate", runs=True))
async def cancel_job(run_id: str, runs: Runs, caller: Caller, data: Reason | None = None) -> Response[str]:
    """Cancel a run: a queued one at once, one that is executed as soon as its worker has stopped it."""
    await runs.get(run_id, caller)
    state = await runs.cancel(run_id, caller, (data and data.reason) or "")
    if state not in {"queued", "scheduled", "running"}:
        return as_text(f"Job {run_id} has ended already: {state}")
    return as_text(run_id)


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


async def _queue(
    version: str,
    runnable: Script | Flow,
    request: Request[Caller, None, Any],
    content: Workspace,
    runs: Runs,
    settings: Settings,
) -> Response[str]:
    if unsupported := [name for name in _UNSUPPORTED if name in request.query_params]:
        raise bad_request(f"{unsupported[0]} is not supported yet: a run is queued at once, and tried once")
    arguments = await content.referring(_arguments(await request.body()))
    timeout_s = math.ceil(runnable.timeout_s or settings.worker.default_timeout_s)
    family = await runs.family(request.user)
    said = parse(request.headers.get("traceparent", ""), request.headers.get("tracestate", ""))
    if said is not None:  # of a client that records spans itself
        family = msgspec.structs.replace(family or Family("", ""), trace=carried(said))
    origin: Origin = "child" if family and family.parent else "api"
    is_flow = isinstance(runnable, Flow)
    run = make_run(runnable.path, version, timeout_s, arguments, origin, family, is_flow=is_flow)
    await runs.create(run)
    return created(run.id)


def _arguments(body: bytes) -> bytes:
    try:
        msgspec.json.decode(body or b"{}", type=dict[str, msgspec.Raw])
    except msgspec.DecodeError as error:
        raise bad_request(f"the body has to be a JSON object, the arguments of main: {error}") from error
    return body or b"{}"


async def _no_flow(run_id: str, key: str, runs: Runs, caller: Caller) -> Exception:
    await runs.get(run_id, caller)
    return not_found(f"user state {key}: job {run_id} is not a flow")


routes = Router(
    "/",
    route_handlers=[
        run_by_path,
        run_by_hash,
        run_flow,
        list_jobs,
        worker_is_draining,
        get_user_state,
        set_user_state,
        get_job,
        get_root_job_id,
        get_result,
        get_result_maybe,
        cancel_job,
        set_progress,
        get_progress,
    ],
)
