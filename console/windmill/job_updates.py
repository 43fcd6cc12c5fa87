"""What is new of a job since it was asked for last: once, or as a stream of events until it has ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

import msgspec
from litestar import Response, Router, get
from litestar.params import Parameter
from litestar.response import Stream

from console.answers import as_json
from console.callers import Caller
from console.errors import Refusal
from console.needs import needs
from console.runs import Found, Runs
from console.windmill import job_objects
from console.workspace import Workspace
from shared.errors import StoreUnavailable

EVERY_S: Final = 0.1
SLOWER_S: Final = 0.5
"""From SLOWER_AFTER_S on."""
SLOWER_AFTER_S: Final = 5.0
HELD_S: Final = 1.0
PING_S: Final = 5.0
LONGEST_S: Final = 600.0


class Wanted(msgspec.Struct, frozen=True):
    """What somebody knows already: whether it was running, how much of the log (in units of UTF-16: JavaScript counts
    so).
    """

    running: bool = False
    log_offset: int = 0
    get_progress: bool = False
    no_logs: bool = False
    only_result: bool = False


def provide_wanted(
    running: bool | None = None,  # noqa: FBT001 - as in the address
    log_offset: Annotated[int, Parameter(ge=0)] = 0,
    get_progress: bool | None = None,  # noqa: FBT001
    no_logs: bool | None = None,  # noqa: FBT001
    only_result: bool | None = None,  # noqa: FBT001
) -> Wanted:
    """For handlers that name `wanted`."""
    return Wanted(running is True, log_offset, get_progress is True, no_logs is True, only_result is True)


@get("/jobs_u/getupdate/{run_id:str}", opt=needs("read", runs=True))
async def get_update(run_id: str, runs: Runs, caller: Caller, wanted: Wanted) -> Response[bytes]:
    """What is new, as soon as anything is, or after a second: there are clients that ask again at once."""
    begun = time.monotonic()
    while True:
        update = await _update(await runs.get(run_id, caller), runs, wanted)
        if update.keys() - {"log_offset", "progress"} or time.monotonic() - begun > HELD_S:
            return as_json(update)
        await asyncio.sleep(EVERY_S)


@get("/jobs_u/getupdate_sse/{run_id:str}", opt=needs("read", runs=True))
async def stream_updates(run_id: str, runs: Runs, content: Workspace, caller: Caller, wanted: Wanted) -> Stream:
    """What is new, as it comes, until the run has ended: the last event has the job."""
    await runs.get(run_id, caller)
    return Stream(_events(run_id, runs, content.name, caller, wanted), media_type="text/event-stream")


async def _update(found: Found, runs: Runs, wanted: Wanted) -> dict[str, Any]:
    """Keys that have nothing to tell are left out."""
    state = found.details.run.state
    update: dict[str, Any] = {}
    if not found.is_live:
        update["completed"] = True
    elif (state == "running") != wanted.running:
        update["running"] = state == "running"
    if not (wanted.no_logs or wanted.only_result):
        log = (await runs.log(found)).encode("utf-16-le")
        if new := log[2 * wanted.log_offset :]:
            update["new_logs"] = new.decode("utf-16-le", "replace")
        update["log_offset"] = max(len(log) // 2, wanted.log_offset)
    if wanted.get_progress and found.progress is not None:
        update["progress"] = found.progress
    return update


async def _events(run_id: str, runs: Runs, workspace: str, caller: Caller, wanted: Wanted) -> AsyncIterator[bytes]:
    """As long as Redis is away there is nothing new."""
    begun = told = time.monotonic()
    while (now := time.monotonic()) - begun < LONGEST_S:
        found: Found | None = None
        update: dict[str, Any] = {}
        try:
            found = await runs.get(run_id, caller)
            update = await _update(found, runs, wanted)
        except Refusal:
            yield _event("not_found")
            return
        except StoreUnavailable:
            found = None
        if found is not None and not found.is_live:
            job = job_objects.job_object(found, workspace)
            yield _event("update", **update, job=job, only_result=job.get("result") if wanted.only_result else None)
            return
        if update.keys() - {"log_offset"}:
            yield _event("update", **update)
            told = now
        elif now - told > PING_S:
            yield _event("ping")
            told = now
        running, offset = update.get("running", wanted.running), update.get("log_offset", wanted.log_offset)
        wanted = msgspec.structs.replace(wanted, running=running, log_offset=offset)
        await asyncio.sleep(EVERY_S if now - begun < SLOWER_AFTER_S else SLOWER_S)
    yield _event("timeout")


def _event(kind: str, **fields: Any) -> bytes:
    found = {key: value for key, value in fields.items() if value is not None}
    return b"data: " + msgspec.json.encode({"type": kind, **found}) + b"\n\n"


routes = Router("/", route_handlers=[get_update, stream_updates])
