"""Trying a deployed trigger: what its broker answers, and runs on messages that were captured."""

from __future__ import annotations

from litestar import Router
from litestar.response import Redirect, Template

from console.api.trying import examined
from console.auditing import Note
from console.blocking import Blocking
from console.pages.forms import Asked, action, answer, text
from console.strangers import read_json
from console.view import View
from shared import asking
from shared.errors import HeadraceError
from shared.modes import read_triggers
from shared.run_on import read_event, run_on
from shared.store import AsyncStore


@answer("/triggers/test", "operate")
async def test_trigger(request: Asked, view: View, work: Blocking, store: AsyncStore) -> Template:
    """Connect as the trigger would, beside its session, and show what was granted."""
    path = text(await request.form(), "trigger")
    await work(read_triggers, [path])
    try:
        report, problem = await examined(store, asking.new_ask("test", trigger=path)), ""
    except HeadraceError as error:
        report, problem = None, error.message
    return view.page("tried.html", section="triggers", path=path, report=report, problem=problem)


@action("/triggers/run-on", "operate")
async def run_on_message(request: Asked, view: View, work: Blocking, note: Note) -> Redirect:
    """Queue runs on a captured message."""
    form = await request.form()
    path = text(form, "trigger")
    try:
        event = read_event(read_json(text(form, "event") or "null", "the captured message is"))
        made = await work(run_on, path, event, view.who)
    except HeadraceError as error:
        return view.redirect(f"/triggers/{path}", error.message, "bad", error.hint)
    note.tell("run on a captured message", path, after=made)
    more = f" So was {', '.join(made[1:])}." if made[1:] else ""
    return view.redirect(f"/runs/{made[0]}", f"Queued on the captured message of {event.topic}.{more}")


routes = Router("/", route_handlers=[test_trigger, run_on_message])
