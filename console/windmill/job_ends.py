"""What is done to jobs that have ended: a failure is marked as dealt with, a job is forgotten."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from litestar import Response, Router, post

from console.answers import as_json
from console.auditing import Note
from console.callers import Caller
from console.errors import Refusal, bad_request
from console.needs import needs
from console.runs import Found, Runs
from console.windmill import job_objects
from console.workspace import Workspace

MOST: Final = 1000
NOTE_MAX: Final = 10_000
"""Characters."""
_Ids = Annotated[list[str], msgspec.Meta(max_length=MOST)]


class Resolution(msgspec.Struct, frozen=True):
    """Body of resolve. `superseded_by` is a later run of the same that went well."""

    job_ids: _Ids
    note: Annotated[str, msgspec.Meta(max_length=NOTE_MAX)] | None = None
    superseded_by: str | None = None


class Unresolution(msgspec.Struct, frozen=True):
    """Body of unresolve."""

    job_ids: _Ids


@post("/jobs/completed/resolve", status_code=200, opt=needs("operate"))
async def resolve_jobs(data: Resolution, runs: Runs, caller: Caller, note: Note) -> Response[bytes]:
    """Mark failures as dealt with; the ids of those that are failures. Raises Refusal (404): no such successor."""
    founds = await _known(data.job_ids, runs, caller)
    why = data.note or ""
    if data.superseded_by is not None:
        successor = await runs.get(data.superseded_by, caller)
        founds = {name: found for name, found in founds.items() if _supersedes(successor, found)}
        why = f"superseded by {successor.id}"
    marked = await runs.resolve([found.id for found in founds.values()], caller, why)
    resolved = [name for name, is_marked in zip(founds, marked, strict=True) if is_marked]
    note.tell("resolve", after={"runs": resolved, "note": why})
    return as_json(resolved)


@post("/jobs/completed/unresolve", status_code=200, opt=needs("operate"))
async def unresolve_jobs(data: Unresolution, runs: Runs, caller: Caller, note: Note) -> Response[bytes]:
    """Take the mark away; the ids of those that had it."""
    founds = {name: found for name, found in (await _known(data.job_ids, runs, caller)).items() if found.resolved_at}
    await runs.unresolve([found.id for found in founds.values()])
    note.tell("unresolve", after={"runs": list(founds)})
    return as_json(list(founds))


@post("/jobs/completed/delete/{run_id:str}", status_code=200, opt=needs("admin"))
async def delete_job(run_id: str, content: Workspace, runs: Runs, caller: Caller, note: Note) -> dict[str, Any]:
    """Forget a run that has ended: arguments, result, log and its place in lists; answers with what was known of it."""
    found = await runs.get(run_id, caller)
    if await runs.forget(found.id) == "not ended":
        raise bad_request(f"Job {run_id} has not ended, or goes with the flow that it is part of")
    note.tell("delete run", found.id)
    return job_objects.job_object(found, content.name, with_result=False)


async def _known(names: list[str], runs: Runs, caller: Caller) -> dict[str, Found]:
    """Those that there are."""
    founds: dict[str, Found] = {}
    for name in names:
        try:
            founds[name] = await runs.get(name, caller)
        except Refusal:
            continue
    return founds


def _supersedes(later: Found, failed: Found) -> bool:
    new, old = later.details.run, failed.details.run
    return new.state == "succeeded" and new.runnable == old.runnable and (new.queued_at or "") > (old.queued_at or "")


routes = Router("/", route_handlers=[resolve_jobs, unresolve_jobs, delete_job])
