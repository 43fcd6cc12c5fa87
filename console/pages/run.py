"""A run: its message's way, what came in, what came out, what it printed; and what can be done about it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from litestar import Request, Response, get, post
from litestar.response import Redirect

from console.pages.payloads import Payload, as_json_text, json_view, payload_view
from console.pages.site import Site
from console.pages.way import Step, way_of
from shared import keys, suspended
from shared.again import Edits, edited, run_again
from shared.clock import iso_utc
from shared.dead_redrive import drop, retry
from shared.errors import HeadraceError, UserError
from shared.history import RunDetails, read_runs, show
from shared.run_page import remark
from shared.run_record import Run, is_run_id, iso_ms
from shared.runs import LIVE
from shared.scripts.operate import cancel
from shared.store import Store

CHILDREN: Final = 200


class RunView(msgspec.Struct, frozen=True):
    """All that the page shows. `log` is what a run that takes long has printed so far, `edit` the arguments that
    somebody may change before it runs again ('' where they are not known).
    """

    details: RunDetails
    way: list[Step]
    payload: Payload | None
    log: str
    edit: str
    children: list[Run]
    is_dead: bool


def read_run(store: Store, run_id: str) -> RunView:
    """Ask Redis. Raises UserError where there is no such run, StoreUnavailable."""
    details = show(store, run_id)
    execution, log, dead, placed, children = _beside(store, run_id)
    is_running = details.run.state == "running" and not any(each.execution_id == execution for each in details.attempts)
    message = details.message
    return RunView(
        details=details,
        way=way_of(details, placed),
        payload=None if message is None else payload_view(message.payload, len(message.payload)),
        log=log if is_running else "",
        edit=_arguments(store, details),
        children=list(read_runs(store, children)),
        is_dead=dead,
    )


def _beside(store: Store, run_id: str) -> tuple[str, str, bool, str | None, Sequence[bytes]]:
    live, dead, placed_us, children = store.commands(
        [
            ("HMGET", keys.live_log(run_id), "execution", "text"),
            ("ZSCORE", keys.DEAD, run_id),
            ("ZSCORE", keys.RUNS, run_id),
            ("ZREVRANGE", keys.children(run_id), 0, CHILDREN - 1),
        ]
    )
    execution, text = [(value or b"").decode("utf-8", "replace") for value in live]
    placed = None if placed_us is None else iso_ms(int(float(placed_us)) // 1000)
    return execution, text, dead is not None, placed, children


def _arguments(store: Store, details: RunDetails) -> str:
    try:
        return as_json_text(json.loads(edited(store, details, Edits())))
    except UserError:
        return ""


@get("/runs/{run_id:str}")
async def run(site: Site, run_id: str) -> Response[str]:
    """The page."""
    view = await site.read(read_run, run_id)
    return site.page(
        "run.html", section="runs", view=view, details=view.details, run=view.details.run,
        is_live=view.details.run.state in LIVE, remark=remark(view.details), json_view=json_view,
    )  # fmt: skip


@get("/runs/{run_id:str}/payload")
async def run_payload(site: Site, run_id: str) -> Response[bytes]:
    """The whole payload as a file. Never shown by a browser: it is somebody else's."""
    details = await site.read(show, run_id)
    body = details.message.payload if details.message else b""
    headers = {"content-disposition": f'attachment; filename="{run_id}.bin"'}
    return Response(body, media_type="application/octet-stream", headers=headers)


@post("/runs/{run_id:str}/cancel")
async def cancel_run(site: Site, run_id: str, request: Request[Any, Any, Any]) -> Redirect:
    """Cancel it."""
    site.needs("operate")
    reason = str((await request.form()).get("reason") or "")
    state = await site.read(_cancel, run_id, site.who, reason)
    said = {"": ("warn", "There is no such run."), "running": ("ok", "Its worker is asked to stop it.")}
    if state in said:
        return site.go(f"/runs/{run_id}", *said[state])
    if state in LIVE:
        return site.go(f"/runs/{run_id}", "ok", "Cancelled.")
    return site.go(f"/runs/{run_id}", "warn", f"It has ended already: {state}.")


@post("/runs/{run_id:str}/again")
async def again(site: Site, run_id: str, request: Request[Any, Any, Any]) -> Redirect:
    """Run it again as a new run, with its own message or other arguments, the version of then or of now."""
    site.needs("operate")
    form = await request.form()
    latest_s = site.settings.worker.default_timeout_s if form.get("version") == "now" else None
    try:
        made = await site.read(run_again, run_id, _edits(form), latest_s)
    except HeadraceError as error:
        return site.go(f"/runs/{run_id}", "error", error.message, error.hint)
    return site.go(f"/runs/{made}", "ok", f"This is a new run of {run_id}.")


@post("/runs/{run_id:str}/retry")
async def retry_run(site: Site, run_id: str, request: Request[Any, Any, Any]) -> Redirect:
    """Queue a dead one again, under its own id."""
    site.needs("operate")
    form = await request.form()
    latest_s = site.settings.worker.default_timeout_s if form.get("version") == "now" else None
    (done,) = await site.read(retry, [run_id], latest_timeout_s=latest_s)
    if done.is_done:
        return site.go(f"/runs/{run_id}", "ok", "Queued again, under the same id and idempotency key.")
    return site.go(f"/runs/{run_id}", "warn", f"Left alone: {done.why or done.outcome}.")


@post("/runs/{run_id:str}/drop")
async def drop_run(site: Site, run_id: str) -> Redirect:
    """Take it off the dead letters."""
    site.needs("operate")
    (done,) = await site.read(drop, [run_id])
    text = "Taken off the dead letters; the run stays in the history." if done else "It was no dead letter any more."
    return site.go(f"/runs/{run_id}", "ok" if done else "warn", text)


@post("/runs/{run_id:str}/release")
async def release_run(site: Site, run_id: str, request: Request[Any, Any, Any]) -> Redirect:
    """Resume or discard one that waits because its trigger is suspended."""
    site.needs("operate")
    form = await request.form()
    trigger = (await site.read(show, run_id)).run.trigger
    if form.get("do") == "discard":
        settled = await site.read(suspended.discard, trigger, [run_id], site.who, "")
    else:
        settled = await site.read(suspended.resume, trigger, [run_id], None)
    what = "Discarded." if form.get("do") == "discard" else "Resumed: it is queued now."
    return site.go(f"/runs/{run_id}", *(("ok", what) if settled.done else ("warn", "It does not wait any more.")))


def _cancel(store: Store, run_id: str, who: str, reason: str) -> str:
    now_ns = time.time_ns()
    return store.run(cancel(run_id, iso_utc(now_ns), now_ns // 1_000_000, who, reason)) if is_run_id(run_id) else ""


def _edits(form: Any) -> Edits:
    """What the form wants in place of the run's own arguments. Raises UserError."""
    if form.get("with") != "edited":
        return Edits()
    try:
        whole = json.loads(str(form.get("args") or ""))
    except json.JSONDecodeError as error:
        raise UserError(f"the arguments are no JSON: {error}", hint="nothing was queued") from error
    if not isinstance(whole, dict):
        raise UserError("the arguments are no JSON object", hint='write {"name": value}; nothing was queued')
    return Edits(whole=whole)
