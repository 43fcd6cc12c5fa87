"""Runs made of what there is: of a flow from one of its steps on, on a message that was captured."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Router, post

from console.auditing import Note
from console.blocking import Blocking
from console.callers import Caller
from console.errors import unprocessable
from console.needs import needs
from shared.config import Settings
from shared.errors import NotThere, UserError
from shared.flow_restart import restart_run
from shared.run_on import read_event, run_on
from shared.store import Store

_Step = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]


class Restart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The step to begin with: `b`, or within a loop `b/0/c`. `latest`: of the flow that is deployed now."""

    step: _Step
    latest: bool = False


class Restarted(msgspec.Struct, frozen=True):
    """A run that was queued."""

    id: str


class OnMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The message: the `event` of a capture, or all of what a capture told."""

    event: dict[str, Any]


class RunsMade(msgspec.Struct, frozen=True):
    """The runs that were queued: one for each runnable that the trigger has for this topic."""

    ids: list[str]


@post("/runs/{run_id:str}/restart", opt=needs("operate"), status_code=201)
async def restart(
    run_id: str, data: Restart, work: Blocking, settings: Settings, caller: Caller, note: Note
) -> Restarted:
    """Run a flow again from one of its steps on, as a new run: what came before keeps its results."""
    latest_s = settings.worker.default_timeout_s if data.latest else None
    made = await work(_restarted, run_id, data.step, latest_s, caller.name)
    note.tell("restart flow", run_id, after={"step": data.step, "run": made, "latest": data.latest})
    return Restarted(made)


@post("/triggers/run-on/{path:path}", opt=needs("operate"), status_code=201)
async def run_on_message(path: str, data: OnMessage, work: Blocking, caller: Caller, note: Note) -> RunsMade:
    """Queue runs on a captured message, as if it had come: outside the books, and the filters are not asked."""
    made = await work(_made, path.strip("/"), data.event, caller.name)
    note.tell("run on a captured message", path.strip("/"), after=made)
    return RunsMade(made)


def _restarted(store: Store, run_id: str, step: str, latest_s: float | None, who: str) -> str:
    try:
        return restart_run(store, run_id, step, latest_s, who)
    except NotThere:
        raise
    except UserError as error:
        raise unprocessable(error.message, error.hint) from error


def _made(store: Store, path: str, event: dict[str, Any], who: str) -> list[str]:
    try:
        return run_on(store, path, read_event(event), who)
    except NotThere:
        raise
    except UserError as error:
        raise unprocessable(error.message, error.hint) from error


routes = Router("/", route_handlers=[restart, run_on_message])
