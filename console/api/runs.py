"""Runs: found, looked at, followed, made, run again, cancelled."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

import msgspec
from litestar import Response, Router, get, post
from litestar.params import QueryParameter
from litestar.response import ServerSentEvent
from litestar.response.sse import ServerSentEventMessage

from console.api.filters import Cursor, Limit, RunFilter, Source, State, Text, When, run_query
from console.auditing import Note
from console.blocking import Blocking
from console.callers import Caller
from console.errors import conflict, not_found, unprocessable
from console.live import LONGEST_S, Live
from console.needs import needs
from console.runs import Runs
from console.workspace import Workspace
from shared.again import Edits, run_again
from shared.cancelling import Cancelled, cancel
from shared.config import MIB, Settings
from shared.create_runs import make_run
from shared.errors import NotThere, UserError
from shared.history import RunPage, search_page, show
from shared.log_tail import LogPart, LogTail
from shared.run_page import document
from shared.run_record import Run
from shared.runs import LIVE
from shared.store import Store

CANCELLED_MAX: Final = 1000
PAYLOAD_MAX: Final = MIB
_BEGINNING: Final = 300
_TAIL_EVERY_S: Final = 0.5


class RunItem(msgspec.Struct, frozen=True):
    """A run in a list: `outcome` is the beginning of its result or error, as text. `created_at` is what `since` and
    `until` mean.
    """

    id: str
    state: str
    trigger: str
    runnable: str | None
    topic: str | None
    qos: int
    attempts: int
    received_at: str | None
    queued_at: str | None
    started_at: str | None
    ended_at: str | None
    payload_size: int | None
    labels: list[str]
    source: str
    outcome: str
    created_at: str | None
    created_by: str | None
    worker: str | None


class RunItems(msgspec.Struct, frozen=True):
    """Runs, newest first. `next`: the cursor of the page after, None where there is none. It may hold fewer than asked
    for, and even none, where it has looked at `looked_at` runs, `back_to` those that were made then, and goes on with
    the next page.
    """

    runs: list[RunItem]
    next: str | None
    looked_at: int
    back_to: str | None


class Log(msgspec.Struct, frozen=True):
    """What each attempt has printed so far. `is_live`: there may be more."""

    parts: list[LogPart]
    is_live: bool


class NewRun(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A run of the version of a script or flow that is deployed now; `args` are the arguments of its `main`."""

    runnable: str
    args: dict[str, Any] = {}
    is_flow: bool = False


class Again(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`args` in place of all of the run's own, `changes` over single ones. `latest`: the version deployed now."""

    args: dict[str, Any] | None = None
    changes: dict[str, Any] = {}
    latest: bool = False


class Made(msgspec.Struct, frozen=True):
    """A run that was queued."""

    id: str


class Reason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why; kept with the run."""

    reason: Annotated[str, msgspec.Meta(max_length=1000)] = ""


class CancelMany(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which runs, and why. At least one filter has to be given."""

    filter: RunFilter
    reason: Annotated[str, msgspec.Meta(max_length=1000)] = ""


class CancelledMany(msgspec.Struct, frozen=True):
    """How many were cancelled, or told to stop; `more`: there are others, ask again."""

    cancelled: int
    stopping: int
    more: bool


@get("/runs", opt=needs("read"))
async def list_runs(
    work: Blocking,
    trigger: Text = "",
    runnable: Text = "",
    folder: Text = "",
    states: Annotated[list[State] | None, QueryParameter(name="state")] = None,
    sources: Annotated[list[Source] | None, QueryParameter(name="source")] = None,
    topic: Text = "",
    label: Text = "",
    error: Text = "",
    args: Text = "",
    result: Text = "",
    worker: Text = "",
    user: Text = "",
    steps: Annotated[bool, QueryParameter(description="Also what runs have started.")] = False,  # noqa: FBT002
    since: When = "",
    until: When = "",
    limit: Limit = 50,
    cursor: Cursor = "",
) -> RunItems:
    """Runs, newest first, page by page."""
    given = RunFilter(
        trigger, runnable, folder, states or [], sources or [], topic, label, error, args, result, worker, user,
        since, until, steps,
    )  # fmt: skip
    return _items(await work(search_page, run_query(given, limit), cursor))


@post("/runs", opt=needs("operate"), status_code=201)
async def make(data: NewRun, content: Workspace, runs: Runs, settings: Settings, caller: Caller, note: Note) -> Made:
    """Run a script or flow with arguments. It is counted for no trigger; a script that crashes is not started again."""
    version, found = await (content.flow if data.is_flow else content.script)(data.runnable)
    arguments = await content.referring(msgspec.json.encode(data.args))
    timeout_s = math.ceil(found.timeout_s or settings.worker.default_timeout_s)
    run = make_run(found.path, version, timeout_s, arguments, "api", is_flow=data.is_flow)
    note.tell("run flow" if data.is_flow else "run script", data.runnable, after={"run": run.id})
    await runs.create(msgspec.structs.replace(run, created_by=caller.name))
    return Made(run.id)


@get("/runs/{run_id:str}", opt=needs("read"))
async def get_run(run_id: str, work: Blocking) -> dict[str, Any]:
    """All that is known of a run: message, arguments, times, attempts with their logs and errors, result.

    A payload of more than a mebibyte is left out of the message (`payload_left_out`): `/payload` has it.
    """
    return bounded(document(await work(show, run_id)))


@get("/runs/{run_id:str}/payload", opt=needs("read"), media_type="application/octet-stream")
async def get_payload(run_id: str, work: Blocking) -> Response[bytes]:
    """The whole payload of the run's message; 404 for a run that no message made."""
    message = (await work(show, run_id)).message
    if message is None:
        raise not_found(f"no message made run {run_id}: it has arguments")
    headers = {"Content-Disposition": f'attachment; filename="{run_id}.bin"'}
    return Response(message.payload, media_type="application/octet-stream", headers=headers)


@get("/runs/{run_id:str}/log", opt=needs("read"))
async def get_log(run_id: str, work: Blocking) -> Log:
    """What a run has printed so far."""

    def read(store: Store) -> Log:
        return Log(*LogTail(run_id).read(store))

    return await work(read)


@get("/runs/{run_id:str}/log/events", opt=needs("read"))
async def follow_log(run_id: str, work: Blocking, live: Live) -> ServerSentEvent:
    """The log as it grows: events `log` with a part of it, `end` once the run has ended."""
    live.check()
    await work(show, run_id)
    return ServerSentEvent(_tail(run_id, work, live))


@post("/runs/{run_id:str}/again", opt=needs("operate"), status_code=201)
async def again(run_id: str, data: Again, work: Blocking, settings: Settings, caller: Caller, note: Note) -> Made:
    """Run it again as a new run, with the same message or arguments, or with edited ones."""
    edits = Edits(data.args, data.changes)
    latest_s = settings.worker.default_timeout_s if data.latest else None
    try:
        made = await work(run_again, run_id, edits, latest_s, caller.name)
    except NotThere:
        raise
    except UserError as error:
        raise unprocessable(error.message, error.hint) from error
    note.tell("run again", run_id, after={"run": made, "latest": data.latest, "edited": bool(edits)})
    return Made(made)


@post("/runs/{run_id:str}/cancel", opt=needs("operate"), status_code=200)
async def cancel_one(run_id: str, data: Reason, work: Blocking, caller: Caller, note: Note) -> Cancelled:
    """Cancel a run that waits at once; one that runs is ended by its worker. 409 for one that has ended."""
    (outcome,) = await work(cancel, [run_id], caller.name, data.reason)
    if not outcome.was:
        raise not_found(f"there is no run {run_id}")
    if outcome.was not in LIVE:
        raise conflict(f"run {run_id} has ended: it is {outcome.was}")
    note.tell("cancel run", run_id, before={"state": outcome.was}, after={"reason": data.reason})
    return outcome


@post("/runs/cancel", opt=needs("operate"), status_code=200)
async def cancel_many(data: CancelMany, work: Blocking, caller: Caller, note: Note) -> CancelledMany:
    """Cancel live runs that a filter finds, at most a thousand at a time."""
    states = [state for state in data.filter.state or LIVE if state in LIVE]
    if not data.filter.is_narrowed or not states:
        raise unprocessable("give a filter that finds runs which have not ended", f"live are {', '.join(LIVE)}")
    wanted = run_query(msgspec.structs.replace(data.filter, state=states), CANCELLED_MAX, scan=1_000_000)

    def find_and_cancel(store: Store) -> tuple[list[Cancelled], bool]:
        page = search_page(store, wanted)
        return cancel(store, [run.id for run in page.runs], caller.name, data.reason), page.next is not None

    outcomes, more = await work(find_and_cancel)
    stopping = sum(outcome.was == "running" for outcome in outcomes)
    done = CancelledMany(sum(outcome.is_done for outcome in outcomes) - stopping, stopping, more)
    note.tell("cancel runs", before=data.filter, after={"cancelled": done.cancelled, "stopping": done.stopping})
    return done


async def _tail(run_id: str, work: Blocking, live: Live) -> AsyncIterator[ServerSentEventMessage]:
    tail = LogTail(run_id)
    with live.counted():
        for _ in range(math.ceil(LONGEST_S / _TAIL_EVERY_S)):
            parts, is_live = await work(tail.read)
            for part in parts:
                yield ServerSentEventMessage(msgspec.json.encode(part).decode(), event="log")
            if not is_live:
                yield ServerSentEventMessage("{}", event="end")
                return
            if live.is_closed:
                return
            await asyncio.sleep(_TAIL_EVERY_S)


def bounded(found: dict[str, Any]) -> dict[str, Any]:
    """A run without a payload that is too large for a document. Pure."""
    message = found["message"]
    if message is None or len(message["payload_base64"]) * 3 // 4 <= PAYLOAD_MAX:
        return found
    less = message | {"payload": None, "payload_base64": None, "payload_left_out": True}
    return found | {"message": less}


def _items(page: RunPage) -> RunItems:
    return RunItems([item_of(run) for run in page.runs], page.next, page.looked_at, page.back_to)


def item_of(run: Run) -> RunItem:
    """The run in a list."""
    if run.error is not None:
        outcome = f"{run.error['name']}: {run.error['message']}"
    else:
        outcome = "" if run.result is None else msgspec.json.encode(run.result).decode()
    return RunItem(
        run.id, run.state, run.trigger, run.runnable, run.topic, run.qos, run.attempts, run.received_at, run.queued_at,
        run.started_at, run.ended_at, run.payload_size, run.labels, run.source, outcome[:_BEGINNING],
        run.created_at, run.created_by, run.worker,
    )  # fmt: skip


routes = Router(
    "/", route_handlers=[list_runs, make, get_run, get_payload, get_log, follow_log, again, cancel_one, cancel_many]
)
