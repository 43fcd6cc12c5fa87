"""Lists of jobs and their counts."""

from __future__ import annotations

from typing import Any, Final

from litestar import Request, Response, Router, get

from console.answers import as_json
from console.blocking import Blocking
from console.callers import Caller, Person
from console.described import FLAG, described
from console.errors import bad_request
from console.needs import needs
from console.windmill.asked import flag_in, number_in
from console.windmill.filtering import PARAMETERS, Of, count_ended, count_jobs, find_jobs, read_filters
from console.windmill.job_tests import LONGEST_AGO_S
from console.workspace import Workspace
from shared import keys
from shared.store import AsyncStore

_AGO: Final = "completed_after_s_ago"
_BY_REGISTRY: Final = frozenset({_AGO, "success", "all_workspaces"})

_FILTERED: Final = needs("read", runs=True) | described(query=PARAMETERS)
_UNFILTERED: Final = needs("read") | described(query={"all_workspaces": FLAG})


@get("/jobs/list", opt=_FILTERED)
async def list_jobs(
    request: Request[Caller, None, Any], content: Workspace, work: Blocking, caller: Caller
) -> list[dict[str, Any]]:
    """What the caller may see, newest first, without arguments and results: a run itself and what it has started."""
    return await work(find_jobs, caller, read_filters(request, "all"), content.name)


@get("/jobs/completed/list", opt=_FILTERED)
async def list_completed(
    request: Request[Caller, None, Any], content: Workspace, work: Blocking, caller: Caller
) -> list[dict[str, Any]]:
    """Those that have ended."""
    return await work(find_jobs, caller, read_filters(request, "completed"), content.name)


@get("/jobs/queue/list", opt=_FILTERED)
async def list_queue(
    request: Request[Caller, None, Any], content: Workspace, work: Blocking, caller: Caller
) -> list[dict[str, Any]]:
    """Those that have not."""
    return await work(find_jobs, caller, read_filters(request, "queue"), content.name)


@get("/jobs/list_filtered_uuids", opt=_FILTERED)
async def list_ids(request: Request[Caller, None, Any], content: Workspace, work: Blocking) -> list[str]:
    """The ids of `list`."""
    return await _ids(request, "all", work, content)


@get("/jobs/queue/list_filtered_uuids", opt=_FILTERED)
async def list_queue_ids(request: Request[Caller, None, Any], content: Workspace, work: Blocking) -> list[str]:
    """The ids of `queue/list`."""
    return await _ids(request, "queue", work, content)


@get("/jobs/queue/count", opt=_UNFILTERED)
async def count_queue(request: Request[Caller, None, Any], store: AsyncStore) -> dict[str, int]:
    """How many runs have not ended, and how many of those wait to be resumed."""
    _check_unfiltered(request)
    queued, started, scheduled, suspended = await store.commands(
        [
            ("LLEN", keys.RQ_QUEUE), ("ZCARD", keys.RQ_STARTED), ("ZCARD", keys.RQ_SCHEDULED),
            ("ZCARD", keys.RQ_DEFERRED),
        ]
    )  # fmt: skip
    return {"database_length": queued + started + scheduled, "suspended": suspended}


@get("/jobs/completed/count", opt=_UNFILTERED)
async def count_completed(request: Request[Caller, None, Any], store: AsyncStore) -> dict[str, int]:
    """How many runs have ended and are kept."""
    _check_unfiltered(request)
    counts = await store.commands([("ZCARD", each) for each in (keys.RQ_FINISHED, keys.RQ_FAILED, keys.RQ_CANCELED)])
    return {"database_length": sum(counts)}


@get("/jobs/completed/count_jobs", opt=needs("read") | described(query=PARAMETERS))
async def count_filtered(
    request: Request[Caller, None, Any], content: Workspace, work: Blocking, caller: Caller
) -> Response[bytes]:
    """How many of those that have ended fit the filters."""
    asked = dict(request.query_params.items())
    if asked.keys() <= _BY_REGISTRY and isinstance(caller, Person):
        ago_s = number_in(asked, "completed_after_s_ago", 0, LONGEST_AGO_S) if _AGO in asked else None
        return as_json(await work(count_ended, ago_s, success=flag_in(asked, "success")))
    return as_json(await work(count_jobs, caller, read_filters(request, "completed"), content.name))


def _check_unfiltered(request: Request[Caller, None, Any]) -> None:
    """Raises Refusal (400) for a filter: what is counted here is counted as a whole."""
    if unknown := sorted(request.query_params.keys() - {"all_workspaces"}):
        raise bad_request(f"{unknown[0]}: this counts all; jobs/completed/count_jobs has filters")


async def _ids(request: Request[Caller, None, Any], of: Of, work: Blocking, content: Workspace) -> list[str]:
    jobs = await work(find_jobs, request.user, read_filters(request, of), content.name)
    return [job["id"] for job in jobs]


routes = Router(
    "/",
    route_handlers=[
        list_jobs, list_completed, list_queue, list_ids, list_queue_ids, count_queue, count_completed, count_filtered,
    ],
)  # fmt: skip
