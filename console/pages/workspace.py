"""The workspace: what is deployed, by kind; each thing with its source, and what refers to it. Scripts can be run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final, cast, get_args

import msgspec
from litestar import Router
from litestar.response import Redirect, Template
from litestar.status_codes import HTTP_200_OK, HTTP_422_UNPROCESSABLE_ENTITY

from console.auditing import Note
from console.blocking import Blocking
from console.masking import hides
from console.pages.flow_graph import draw
from console.pages.forms import Asked, Typed, answer, page, read_arguments, text
from console.pages.items import said, shown
from console.pages.payloads import json_view
from console.view import View
from shared import keys
from shared.again import latest
from shared.clock import iso_utc
from shared.config import Settings
from shared.create_runs import make_run
from shared.definitions import KINDS, Flow, Kind, Trigger
from shared.deploy import read_now
from shared.deployment import Deployed, definition_command, read_all, read_definition
from shared.errors import NotThere, UserError
from shared.scripts.operate import create_runs
from shared.store import Store

TABS: Final[Mapping[str, str]] = {
    "script": "Scripts",
    "flow": "Flows",
    "resource": "Resources",
    "broker": "Brokers",
    "variable": "Variables",
    "file": "Files",
}
_RECORDS: Final[Mapping[str, Any]] = {kind: record for record, kind in KINDS.items()}


class Entry(msgspec.Struct, frozen=True):
    """A thing of the workspace in a list: what it is in a few words, and the triggers that name it."""

    path: str
    version: str
    said: str
    more: str
    triggers: list[str]


class Listing(msgspec.Struct, frozen=True):
    """All of one kind; `counts` of every kind."""

    entries: list[Entry]
    counts: dict[str, int]
    number: int
    dead: int


class Item(msgspec.Struct, frozen=True):
    """One thing, `deployed` in this version now or not (any more)."""

    record: Any
    version: str
    deployed: str | None
    triggers: list[str]
    dead: int


def read_listing(store: Store, kind: Kind) -> Listing:
    """Ask Redis. Raises StoreUnavailable."""
    deployed = read_now(store)
    versions = deployed.of_kind(kind)
    records = read_all(store, versions, _RECORDS[kind])
    users = _users(store, deployed)
    entries = [
        Entry(path, versions[path], *said(record), users.get((kind, path), [])) for path, record in records.items()
    ]
    counts = {each: len(deployed.of_kind(each)) for each in get_args(Kind)}
    return Listing(entries, counts, deployed.number, store.command("ZCARD", keys.DEAD))


def read_item(store: Store, kind: Kind, path: str, version: str) -> Item:
    """One thing as it is deployed, or a version of it. Raises NotThere where there is none."""
    deployed = read_now(store)
    current = deployed.of_kind(kind).get(path)
    wanted = version or current
    blob = store.command(*definition_command(wanted)) if wanted else None
    record = read_definition(blob, _RECORDS[kind]) if blob else None
    if record is None or wanted is None or record.path != path:
        raise NotThere(f"there is no {kind} {path}", hint="the workspace page lists what is deployed")
    return Item(
        record, wanted, current, _users(store, deployed).get((kind, path), []), store.command("ZCARD", keys.DEAD)
    )


def _users(store: Store, deployed: Deployed) -> dict[tuple[str, str], list[str]]:
    """Which triggers name a thing."""
    found: dict[tuple[str, str], list[str]] = {}
    for path, trigger in read_all(store, deployed.of_kind("trigger"), Trigger).items():
        found.setdefault(("broker", trigger.broker), []).append(path)
        found.setdefault(("resource", trigger.broker), []).append(path)
        for name, runnable in trigger.runnables.items():
            found.setdefault(("flow" if runnable.is_flow else "script", name), []).append(path)
    return found


@page("/workspace")
async def workspace(view: View, work: Blocking, kind: str = "script", q: str = "") -> Template:
    """A list of one kind."""
    found = await work(read_listing, _kind(kind))
    entries = [each for each in found.entries if q.strip().lower() in f"{each.path} {each.said} {each.more}".lower()]
    return view.page(
        "workspace.html", section="workspace", found=found, entries=entries, kind=kind, tabs=TABS, q=q,
        dead_count=found.dead,
    )  # fmt: skip


@page("/workspace/at/{kind:str}/{path:path}")
async def item(kind: str, path: str, view: View, work: Blocking, version: str = "") -> Template:
    """One thing."""
    return _item_template(view, kind, await work(read_item, _kind(kind), path.strip("/"), version))


def _item_template(view: View, kind: str, found: Item, typed: Typed | None = None) -> Template:
    status = HTTP_422_UNPROCESSABLE_ENTITY if typed else HTTP_200_OK
    return view.page(
        "item.html", status, section="workspace", kind=kind, found=found, record=found.record, tabs=TABS, typed=typed,
        json_view=json_view, dead_count=found.dead, shown=shown(found.record, hide=hides(view.caller)),
        drawing=draw(msgspec.to_builtins(found.record.value), {}) if isinstance(found.record, Flow) else None,
    )  # fmt: skip


@answer("/workspace/run", "operate", audited=True)
async def run_script(request: Asked, view: View, work: Blocking, settings: Settings, note: Note) -> Redirect | Template:
    """Queue a run of what is deployed, with these arguments."""
    form = await request.form()
    path, kind = text(form, "path"), text(form, "kind")
    try:
        arguments = read_arguments(text(form, "args"))
    except UserError as error:
        typed = Typed(text(form, "args"), error.message, error.hint)
        return _item_template(view, kind, await work(read_item, _kind(kind), path, ""), typed)
    made = await work(_queue, path, kind == "flow", msgspec.json.encode(arguments), settings, view.who)
    note.tell("run script", path, after=made)
    return view.redirect(f"/runs/{made}", f"Queued: {path}, with the arguments that were given.")


def _kind(text: str) -> Kind:
    if text not in _RECORDS:
        raise NotThere(f"{text!r} is nothing that a workspace has")
    return cast("Kind", text)


def _queue(store: Store, path: str, is_flow: bool, arguments: bytes, settings: Settings, who: str) -> str:  # noqa: FBT001
    version = latest(store, path, settings.worker.default_timeout_s, is_flow=is_flow)
    run = make_run(path, version.version, version.timeout_s, arguments, "api", is_flow=is_flow)
    now_ns = time.time_ns()
    store.run(create_runs([msgspec.structs.replace(run, created_by=who)], iso_utc(now_ns), now_ns // 1000))
    return run.id


routes = Router("/", route_handlers=[workspace, item, run_script])
