"""A run: its message's way, what came in, what came out, what it printed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

import msgspec
from litestar import Response, Router
from litestar.response import Template
from litestar.status_codes import HTTP_200_OK, HTTP_422_UNPROCESSABLE_ENTITY

from console.blocking import Blocking
from console.pages.flow_graph import Drawing
from console.pages.flow_steps import StepRow, drawing_of, step_rows
from console.pages.forms import Typed, page
from console.pages.payloads import Payload, as_json_text, json_view, payload_view
from console.pages.way import Step, way_of
from console.view import View
from shared import keys
from shared.again import Edits, edited
from shared.definitions import Flow
from shared.deployment import definition_command, read_definition
from shared.errors import UserError
from shared.flow_nodes import STEPS_SHOWN, abridged
from shared.history import RunDetails, read_runs, show
from shared.run_page import remark
from shared.run_record import Run, iso_ms
from shared.runs import LIVE
from shared.store import Store

CHILDREN: Final = 200
EDIT_MAX: Final = 64 * 1024
"""Characters of arguments that a page has room for."""


_TOO_LONG: Final = (
    "The arguments of this run are too long to be edited here: headrace runs again --args FILE takes them."
)


class RunView(msgspec.Struct, frozen=True):
    """All that the page shows. `log` is what a run that takes long has printed so far, `edit` the arguments that
    somebody may change before it runs again ('' where they are not known, or too long for a page: `why_no_edit`).
    """

    details: RunDetails
    way: list[Step]
    payload: Payload | None
    log: str
    edit: str
    why_no_edit: str
    children: list[Run]
    steps: list[StepRow]
    drawing: Drawing | None
    is_dead: bool
    dead: int


def read_run(store: Store, run_id: str) -> RunView:
    """Ask Redis. Raises UserError where there is no such run, StoreUnavailable."""
    details = show(store, run_id)
    beside = _beside(store, run_id)
    is_ended = any(each.execution_id == beside.execution for each in details.attempts)
    message = details.message
    edit, why_no_edit = _arguments(store, details)
    return RunView(
        details=details,
        way=way_of(details, beside.placed_at),
        payload=None if message is None else payload_view(message.payload, len(message.payload)),
        log="" if is_ended or details.run.state != "running" else beside.log,
        edit=edit,
        why_no_edit=why_no_edit,
        children=list(read_runs(store, beside.children)),
        steps=step_rows(abridged(details.steps, STEPS_SHOWN)),
        drawing=_drawing(store, details),
        is_dead=beside.is_dead,
        dead=beside.dead,
    )


def _drawing(store: Store, details: RunDetails) -> Drawing | None:
    """The flow that the run runs; None for a script, and for a part of a flow."""
    if not details.steps or not details.run.runnable_version:
        return None
    flow = read_definition(store.command(*definition_command(details.run.runnable_version)), Flow)
    return None if flow is None else drawing_of(flow, details.steps)


class _Beside(msgspec.Struct, frozen=True):
    """What stands beside a run's record."""

    execution: str
    log: str
    is_dead: bool
    placed_at: str | None
    children: Sequence[bytes]
    dead: int


def _beside(store: Store, run_id: str) -> _Beside:
    live, buried, placed_us, children, dead = store.commands(
        [
            ("HMGET", keys.live_log(run_id), "execution", "text"),
            ("ZSCORE", keys.DEAD, run_id),
            ("ZSCORE", keys.RUNS, run_id),
            ("ZREVRANGE", keys.children(run_id), 0, CHILDREN - 1),
            ("ZCARD", keys.DEAD),
        ]
    )
    execution, text = [(value or b"").decode("utf-8", "replace") for value in live]
    placed_at = None if placed_us is None else iso_ms(int(float(placed_us)) // 1000)
    return _Beside(execution, text, buried is not None, placed_at, children, dead)


def _arguments(store: Store, details: RunDetails) -> tuple[str, str]:
    """The arguments, or why they are not shown."""
    if details.message is not None and len(details.message.payload) > EDIT_MAX:
        return "", _TOO_LONG
    try:
        found = edited(store, details, Edits(), is_flow=bool(details.steps))
    except UserError:
        return "", "The arguments of this run are not known: its preprocessor makes them."
    return ("", _TOO_LONG) if len(found) > EDIT_MAX else (as_json_text(json.loads(found)), "")


@page("/runs/{run_id:str}")
async def run(run_id: str, view: View, work: Blocking) -> Template:
    """The page."""
    return run_template(view, await work(read_run, run_id))


def run_template(view: View, found: RunView, typed: Typed | None = None) -> Template:
    """The page; with arguments that could not be taken (422), to be typed on."""
    details = found.details
    return view.page(
        "run.html", HTTP_422_UNPROCESSABLE_ENTITY if typed else HTTP_200_OK, section="runs", view=found, typed=typed,
        details=details, run=details.run, is_live=details.run.state in LIVE, remark=remark(details),
        json_view=json_view, dead_count=found.dead,
    )  # fmt: skip


@page("/runs/{run_id:str}/payload")
async def payload(run_id: str, work: Blocking) -> Response[bytes]:
    """The whole payload as a file. Never shown by a browser: it is somebody else's."""
    details = await work(show, run_id)
    body = details.message.payload if details.message else b""
    headers = {"Content-Disposition": f'attachment; filename="{details.run.id}.bin"'}
    return Response(body, media_type="application/octet-stream", headers=headers)


routes = Router("/", route_handlers=[run, payload])
