"""What is done to jobs: cancelled, run again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
from litestar import Response, Router, post

from console.answers import as_json, as_text, created
from console.auditing import Note
from console.blocking import Blocking
from console.callers import Caller
from console.errors import Refusal, bad_request, unprocessable
from console.needs import needs
from console.runs import Found, Runs
from console.windmill import job_objects
from shared.again import Edits, run_again
from shared.config import Settings
from shared.errors import HeadraceError
from shared.expressions import compile_expression
from shared.flow_restart import restart_run
from shared.history import search
from shared.run_query import SCAN, Query
from shared.runs import LIVE
from shared.store import Store

MOST: Final = 1000


class Reason(msgspec.Struct, frozen=True):
    """Body of cancel."""

    reason: str | None = None


class RunnableOptions(msgspec.Struct, frozen=True):
    """How jobs of one script are run again: other arguments, and whether the version that is deployed now."""

    input_transforms: dict[str, Any] = {}
    use_latest_version: bool = False


class Again(msgspec.Struct, frozen=True):
    """Body of batch_rerun_jobs."""

    job_ids: Annotated[list[str], msgspec.Meta(max_length=MOST)]
    script_options_by_path: dict[str, RunnableOptions] = {}
    flow_options_by_path: dict[str, RunnableOptions] = {}


class StepWithin(msgspec.Struct, frozen=True):
    """A step, and the iteration or branch of it, if it has any."""

    step_id: str
    branch_or_iteration_n: int | None = None

    def __str__(self) -> str:
        return self.step_id if self.branch_or_iteration_n is None else f"{self.step_id}/{self.branch_or_iteration_n}"


class Restart(StepWithin, frozen=True):
    """Body of restart. `nested_path` leads from there on; without one it is the first step of an iteration."""

    nested_path: list[StepWithin] = []
    flow_version: int | None = None


@post(
    ["/jobs_u/queue/cancel/{run_id:str}", "/jobs_u/queue/force_cancel/{run_id:str}"], status_code=200,
    opt=needs("operate", runs=True),
)  # fmt: skip
async def cancel_job(run_id: str, runs: Runs, caller: Caller, data: Reason | None = None) -> Response[str]:
    """Cancel a run: a queued one at once, one that is executed as soon as its worker has stopped it."""
    found = await runs.get(run_id, caller)
    state = await runs.cancel(found.id, caller, (data and data.reason) or "")
    if state not in LIVE:
        return as_text(f"Job {run_id} has ended already: {state}")
    return as_text(run_id)


@post("/jobs_u/queue/cancel_persistent/{path:path}", status_code=200, opt=needs("operate"))
async def cancel_persistent(
    path: str, runs: Runs, work: Blocking, caller: Caller, note: Note, data: Reason | None = None
) -> Response[bytes]:
    """Cancel all runs of a script or flow that have not ended; their ids."""
    query = Query(runnable=path.strip("/"), states=frozenset(LIVE), limit=SCAN)
    cancelled = [
        run_id
        for run_id in await work(_ids, query)
        if await runs.cancel(run_id, caller, (data and data.reason) or "") in LIVE
    ]
    note.tell("cancel", path.strip("/"), after={"runs": cancelled})
    return as_json(cancelled)


@post("/jobs/queue/cancel_selection", status_code=200, opt=needs("operate", runs=True))
async def cancel_selection(data: list[str], runs: Runs, caller: Caller) -> Response[bytes]:
    """Cancel these runs; the ids of those that had not ended."""
    if len(data) > MOST:
        raise unprocessable(f"{len(data)} ids, of at most {MOST} at once")
    cancelled = []
    for run_id in data:
        try:
            found = await runs.get(run_id, caller)
        except Refusal:
            continue
        if await runs.cancel(found.id, caller, "") in LIVE:
            cancelled.append(run_id)
    return as_json(cancelled)


@post("/jobs/run/batch_rerun_jobs", status_code=201, opt=needs("operate"))
async def batch_rerun(
    data: Again, runs: Runs, work: Blocking, caller: Caller, settings: Settings, note: Note
) -> Response[str]:
    """Run these again as new runs; their ids, one a line, and a line with the error where that cannot be."""
    lines = []
    for run_id in data.job_ids:
        try:
            found = await runs.get(run_id, caller)
            by_path = data.flow_options_by_path if found.details.is_flow else data.script_options_by_path
            options = by_path.get(found.details.run.runnable or "") or RunnableOptions()
            lines.append(await work(_again, found, options, settings.worker.default_timeout_s, caller.name))
        except HeadraceError as error:  # those before it are queued: their ids have to be told
            lines.append(f"Error: {run_id}: {error.message}".replace("\n", " "))
    note.tell("run again", after={"runs": data.job_ids, "new": lines})
    return created("\n".join(lines))


@post("/jobs/restart/f/{run_id:str}", status_code=201, opt=needs("operate"))
async def restart_flow(
    run_id: str, data: Restart, runs: Runs, work: Blocking, caller: Caller, note: Note
) -> Response[str]:
    """Run a flow again from one of its steps on, as a new run; answers with its id.

    What came before is taken over. The step may stand in an iteration or branch: by its number, or as `l/3/x`.
    """
    if data.flow_version is not None:
        raise bad_request("flow_version: a flow is restarted in the version that the run was of")
    found = await runs.get(run_id, caller)
    step = "/".join(map(str, (data, *data.nested_path)))
    new = await work(restart_run, found.id, step, None, caller.name)
    note.tell("run again", found.id, after={"from": step, "new": new})
    return created(new)


def _ids(store: Store, query: Query) -> list[str]:
    return [run.id for run in search(store, query, lambda _looked_at: None)]


def _again(store: Store, found: Found, options: RunnableOptions, default_timeout_s: float, who: str) -> str:
    edits = Edits(single=_transformed(found, options.input_transforms))
    return run_again(store, found.id, edits, default_timeout_s if options.use_latest_version else None, who)


def _transformed(found: Found, transforms: Mapping[str, Any]) -> dict[str, Any]:
    """Other arguments: `static` values, and `javascript` that sees the job as `job`. Raises ExpressionError."""
    values: dict[str, Any] = {}
    own = job_objects.arguments(found)
    job = {"input": own, "id": found.id, "scheduled_for": found.details.run.queued_at}
    for name, transform in transforms.items():
        match transform:
            case {"type": "static", "value": value}:
                values[name] = value
            case {"type": "javascript", "expr": str(expression)}:
                values[name] = compile_expression(expression).evaluate({"job": job, "flow_input": own})
            case _:
                raise bad_request(f"input_transforms.{name}: write type static with value, or javascript with expr")
    return values


routes = Router("/", route_handlers=[cancel_job, cancel_persistent, cancel_selection, batch_rerun, restart_flow])
