"""What is done to a run: cancelled, run again, retried, dropped, resumed, discarded."""

from __future__ import annotations

from litestar import Router
from litestar.datastructures import FormMultiDict
from litestar.response import Redirect, Template

from console.auditing import Note
from console.blocking import Blocking
from console.pages.forms import Asked, Typed, action, answer, read_arguments, text
from console.pages.run import read_run, run_template
from console.view import View
from shared import suspended
from shared.again import Edits, run_again
from shared.cancelling import cancel
from shared.config import Settings
from shared.dead_redrive import drop, retry
from shared.errors import HeadraceError, UserError
from shared.flow_restart import restart_run
from shared.history import show


@action("/runs/{run_id:str}/cancel", "operate")
async def cancel_run(run_id: str, request: Asked, view: View, work: Blocking, note: Note) -> Redirect:
    """Cancel it."""
    reason = text(await request.form(), "reason")
    (cancelled,) = await work(cancel, [run_id], view.who, reason)
    state = cancelled.was
    there = f"/runs/{run_id}"
    if not cancelled.is_done:
        return view.redirect(there, f"It has ended already: {state}." if state else "There is no such run.", "warn")
    note.tell("cancel run", run_id, before={"state": state}, after={"reason": reason})
    return view.redirect(there, "Its worker is asked to stop it." if state == "running" else "The run is cancelled.")


@answer("/runs/{run_id:str}/again", "operate", audited=True)
async def again(
    run_id: str, request: Asked, view: View, work: Blocking, settings: Settings, note: Note
) -> Redirect | Template:
    """Run it again as a new run, with its own message or other arguments, the version of then or of now."""
    form = await request.form()
    try:
        edits = _edits(form)
    except UserError as error:
        typed = Typed(text(form, "args"), error.message, error.hint)
        return run_template(view, await work(read_run, run_id), typed)
    try:
        made = await work(run_again, run_id, edits, _latest_s(form, settings), view.who)
    except HeadraceError as error:
        return view.redirect(f"/runs/{run_id}", error.message, "bad", error.hint)
    note.tell("run again", run_id, after=made)
    return view.redirect(f"/runs/{made}", f"This is a new run, made of {run_id}.")


@action("/runs/{run_id:str}/retry", "operate")
async def retry_run(
    run_id: str, request: Asked, view: View, work: Blocking, settings: Settings, note: Note
) -> Redirect:
    """Queue a dead one again, under its own id."""
    latest_s = _latest_s(await request.form(), settings)
    was = (await work(show, run_id)).run.state
    (done,) = await work(retry, [run_id], latest_timeout_s=latest_s)
    note.tell("retry run", run_id, before={"state": was}, after={"outcome": done.outcome})
    if done.is_done:
        return view.redirect(f"/runs/{run_id}", "Queued again, under the same id and idempotency key.")
    return view.redirect(f"/runs/{run_id}", f"Left alone: {done.why or done.outcome}.", "warn")


@action("/runs/{run_id:str}/drop", "operate")
async def drop_run(run_id: str, view: View, work: Blocking, note: Note) -> Redirect:
    """Take it off the dead letters."""
    (done,) = await work(drop, [run_id])
    note.tell("drop dead letter", run_id)
    if done:
        return view.redirect(f"/runs/{run_id}", "Taken off the dead letters; the run stays in the history.")
    return view.redirect(f"/runs/{run_id}", "It was no dead letter any more.", "warn")


@action("/runs/{run_id:str}/release", "operate")
async def release_run(run_id: str, request: Asked, view: View, work: Blocking, note: Note) -> Redirect:
    """Resume or discard one that waits because its trigger is suspended."""
    discards = text(await request.form(), "do") == "discard"
    trigger = (await work(show, run_id)).run.trigger
    if discards:
        settled = await work(suspended.discard, trigger, [run_id], view.who, "")
    else:
        settled = await work(suspended.resume, trigger, [run_id], None)
    if not settled.done:
        return view.redirect(f"/runs/{run_id}", "It does not wait any more.", "warn")
    done = "discard suspended run" if discards else "resume suspended run"
    note.tell(done, run_id, before={"state": "suspended"}, after={"state": "cancelled" if discards else "queued"})
    return view.redirect(f"/runs/{run_id}", "Discarded." if discards else "Resumed: it is queued now.")


@action("/runs/{run_id:str}/restart", "operate")
async def restart(run_id: str, request: Asked, view: View, work: Blocking, note: Note) -> Redirect:
    """Run a flow again from one of its steps on, as a new run."""
    step = text(await request.form(), "step")
    try:
        made = await work(restart_run, run_id, step, None, view.who)
    except HeadraceError as error:
        return view.redirect(f"/runs/{run_id}", error.message, "bad", error.hint)
    note.tell("restart flow", run_id, after={"step": step, "run": made})
    return view.redirect(f"/runs/{made}", f"This is {run_id} again, from step {step} on.")


def _latest_s(form: FormMultiDict, settings: Settings) -> float | None:
    return settings.worker.default_timeout_s if text(form, "version") == "now" else None


def _edits(form: FormMultiDict) -> Edits:
    """What the form wants in place of the run's own arguments. Raises UserError."""
    if text(form, "with") != "edited":
        return Edits()
    return Edits(whole=read_arguments(text(form, "args")))


routes = Router("/", route_handlers=[cancel_run, again, retry_run, drop_run, release_run, restart])
