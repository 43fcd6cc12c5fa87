"""A trigger: its session, its topics, what waits, its latest runs; and resuming or discarding what is suspended."""

from __future__ import annotations

from typing import Final

import msgspec
from litestar import Router
from litestar.response import Redirect, Template

from console.auditing import Note
from console.blocking import Blocking
from console.pages.forms import Asked, action, page, text, texts
from console.pages.runs import outcome, took_ms
from console.pages.triggers import hourly, sparkline
from console.view import View
from shared import keys, suspended
from shared.config import Settings
from shared.definitions import Broker, encode_definition
from shared.deploy import read_all, read_now
from shared.errors import HeadraceError
from shared.history import read_runs
from shared.outboxes import OutboxStatus, read_outboxes
from shared.run_record import Run, iso_ms
from shared.stamps import Stamp, newest_stamp
from shared.status import Identity, check_identities
from shared.store import Store
from shared.tables import number
from shared.trigger_list import TriggerDetails, read_details

LATEST: Final = 10
WAITING: Final = 100


class TriggerView(msgspec.Struct, frozen=True):
    """All that the page shows. `waiting` are the oldest of the `suspended` runs, `outbox` that of its broker."""

    details: TriggerDetails
    version: str
    broker: Broker | None
    bars: list[tuple[int, float]]
    lately: int
    latest: list[Run]
    suspended: int
    waiting: list[Run]
    books: list[Identity]
    outbox: OutboxStatus | None
    has_file: bool
    changed: Stamp | None
    changed_at: str | None
    dead: int


def read_trigger(store: Store, path: str) -> TriggerView:
    """Ask Redis. Raises UserError where it is not deployed, StoreUnavailable."""
    (details,) = read_details(store, [path])
    deployed = read_now(store)
    brokers = deployed.of_kind("broker")
    place = details.definition.broker
    broker = read_all(store, {place: brokers[place]}, Broker).get(place) if place in brokers else None
    dead, now, latest, waiting = store.commands(
        [
            ("ZCARD", keys.DEAD),
            ("TIME",),
            ("ZREVRANGE", keys.runs(path), 0, LATEST - 1),
            ("ZRANGE", keys.suspended(path), 0, WAITING - 1),
        ]
    )
    (bars,) = hourly(store, [path], int(now[0]))
    changed = newest_stamp(store, f"trigger:{path}")
    return TriggerView(
        details=details,
        version=encode_definition(details.definition)[0],
        broker=broker,
        bars=sparkline(bars),
        lately=sum(bars),
        latest=list(read_runs(store, latest)),
        suspended=suspended.count(store, path),
        waiting=list(read_runs(store, waiting)),
        books=check_identities(path, details.counters),
        outbox=next((each for each in read_outboxes(store) if each.broker == place), None),
        changed=changed,
        changed_at=None if changed is None else iso_ms(changed.at),
        has_file=f"{path}.mqtt_trigger.yaml" in deployed.of_kind("file"),
        dead=dead,
    )


@page("/triggers/{path:path}")
async def trigger(path: str, view: View, work: Blocking) -> Template:
    """The page."""
    found = await work(read_trigger, path.strip("/"))
    details = found.details
    return view.page(
        "trigger.html", section="triggers", view=found, row=details.row, session=details.session,
        definition=details.definition, outcome=outcome, took=took_ms, dead_count=found.dead,
    )  # fmt: skip


@action("/triggers/suspended", "operate")
async def settle_suspended(request: Asked, view: View, work: Blocking, settings: Settings, note: Note) -> Redirect:
    """Resume or discard what waits: the runs that were picked, or all."""
    form = await request.form()
    path, do = text(form, "trigger"), text(form, "do")
    there = f"/triggers/{path}"
    ids = None if do.endswith("all") else texts(form, "id")
    if ids == []:
        return view.redirect(there, "No run was picked.", "warn")
    latest_s = settings.worker.default_timeout_s if text(form, "version") == "now" else None
    try:
        if do.startswith("discard"):
            settled = await work(suspended.discard, path, ids, view.who, "")
        else:
            settled = await work(suspended.resume, path, ids, latest_s)
    except HeadraceError as error:
        return view.redirect(there, error.message, "bad", error.hint)
    what = "discarded" if do.startswith("discard") else "queued"
    left = await work(suspended.count, path)
    before, after = {"waiting": left + settled.done}, {"waiting": left, "runs": ids or "all"}
    note.tell(f"suspended runs {what}", path, before, after)
    stays = [f"{run_id} stays: {why}" for run_id, why in list(settled.refused.items())[:3]]
    stays += [f"{len(settled.not_waiting)} did not wait any more"] if settled.not_waiting else []
    return view.redirect(there, f"{number(settled.done)} {what}.", "warn" if stays else "good", "; ".join(stays))


routes = Router("/", route_handlers=[trigger, settle_suspended])
