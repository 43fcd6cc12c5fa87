"""The workspace: what is deployed, by kind; each thing with its source, and what refers to it. Scripts can be run."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from litestar import Router
from litestar.response import Redirect, Template

from console.auditing import Note
from console.blocking import Blocking
from console.callers import Caller
from console.masking import hides, mask_file, mask_value
from console.pages.forms import Asked, action, page, text
from console.pages.payloads import as_json_text, json_view
from console.view import View
from shared import keys
from shared.again import latest
from shared.clock import iso_utc
from shared.config import Settings
from shared.create_runs import make_run
from shared.definitions import KINDS, Broker, File, Flow, Kind, Resource, Script, Trigger, Variable
from shared.deploy import read_now
from shared.deployment import Deployed, definition_command, read_all, read_definition
from shared.errors import UserError
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


def read_listing(store: Store, kind: Kind) -> Listing:
    """Ask Redis. Raises StoreUnavailable."""
    deployed = read_now(store)
    versions = deployed.of_kind(kind)
    records = read_all(store, versions, _RECORDS[kind])
    users = _users(store, deployed)
    entries = [
        Entry(path, versions[path], *_said(record), users.get((kind, path), [])) for path, record in records.items()
    ]
    counts = {each: len(deployed.of_kind(each)) for each in _RECORDS}
    return Listing(entries, counts, deployed.number, store.command("ZCARD", keys.DEAD))


def read_item(store: Store, kind: Kind, path: str, version: str) -> Item:
    """One thing as it is deployed, or a version of it. Raises UserError where there is none."""
    deployed = read_now(store)
    current = deployed.of_kind(kind).get(path)
    wanted = version or current
    blob = store.command(*definition_command(wanted)) if wanted else None
    record = read_definition(blob, _RECORDS[kind]) if blob else None
    if record is None or wanted is None or record.path != path:
        raise UserError(f"there is no {kind} {path}", hint="the workspace page lists what is deployed")
    return Item(record, wanted, current, _users(store, deployed).get((kind, path), []))


def _users(store: Store, deployed: Deployed) -> dict[tuple[str, str], list[str]]:
    """Which triggers name a thing."""
    found: dict[tuple[str, str], list[str]] = {}
    for path, trigger in read_all(store, deployed.of_kind("trigger"), Trigger).items():
        found.setdefault(("broker", trigger.broker), []).append(path)
        found.setdefault(("resource", trigger.broker), []).append(path)
        for name, runnable in trigger.runnables.items():
            found.setdefault(("flow" if runnable.is_flow else "script", name), []).append(path)
    return found


def _said(record: Any) -> tuple[str, str]:
    match record:
        case Script():
            packages = len(record.lock.split())
            parts = [record.language, *(["preprocessor"] if record.has_preprocessor else [])]
            return ", ".join(parts), f"{packages} packages" if packages else ""
        case Flow():
            return f"{len(_modules(record))} steps", ""
        case Resource():
            return record.resource_type, record.description
        case Broker():
            return f"{record.host}:{record.port}" + (" with TLS" if record.tls else ""), record.username or ""
        case Variable():
            return ("secret" if record.is_secret else record.value[:80]), record.description
        case File():
            return f"{len(record.text.splitlines())} lines", ""
        case _:
            return "", ""


def _modules(flow: Flow) -> list[Any]:
    value: Any = msgspec.to_builtins(flow.value)
    modules: list[Any] = value.get("modules", [])
    return modules


@page("/workspace")
async def workspace(view: View, work: Blocking, kind: str = "script", q: str = "") -> Template:
    """A list of one kind."""
    if kind not in TABS:
        raise UserError(f"{kind!r} is nothing that a workspace has")
    found = await work(read_listing, kind)
    entries = [each for each in found.entries if q.strip().lower() in f"{each.path} {each.said} {each.more}".lower()]
    return view.page(
        "workspace.html", section="workspace", found=found, entries=entries, kind=kind, tabs=TABS, q=q,
        dead_count=found.dead,
    )  # fmt: skip


@page("/workspace/at/{kind:str}/{path:path}")
async def item(kind: str, path: str, view: View, work: Blocking, version: str = "") -> Template:
    """One thing."""
    if kind not in _RECORDS:
        raise UserError(f"{kind!r} is nothing that a workspace has")
    found = await work(read_item, kind, path.strip("/"), version)
    return view.page(
        "item.html", section="workspace", kind=kind, found=found, record=found.record, tabs=TABS, json_view=json_view,
        **shown(found.record, view.caller),
    )  # fmt: skip


def shown(record: Any, caller: Caller) -> dict[str, Any]:
    """What the page shows beside the record's own fields: `sources` by name, `value` as JSON, `arguments` to edit."""
    hide = hides(caller)
    match record:
        case Script():
            arguments = as_json_text(dict.fromkeys(record.parameters)) if record.parameters else '{"payload": ""}'
            return {"sources": record.modules, "value": None, "arguments": arguments}
        case Flow():
            return {"sources": {}, "value": msgspec.to_builtins(record.value), "arguments": "{}"}
        case Resource():
            return {"sources": {}, "value": mask_value(record.value) if hide else record.value, "arguments": ""}
        case Broker():
            fields = {name: value for name, value in msgspec.structs.asdict(record).items() if value not in (None, "")}
            return {"sources": {}, "value": mask_value(fields) if hide else fields, "arguments": ""}
        case Variable():
            value = "encrypted; scripts that run get it, nobody reads it here" if record.is_secret else record.value
            return {"sources": {record.path: value}, "value": None, "arguments": ""}
        case File():
            return {
                "sources": {record.path: mask_file(record.path, record.text, hide=hide)},
                "value": None,
                "arguments": "",
            }
        case _:
            return {"sources": {}, "value": msgspec.to_builtins(record), "arguments": ""}


@action("/workspace/run", "operate")
async def run_script(request: Asked, view: View, work: Blocking, settings: Settings, note: Note) -> Redirect:
    """Queue a run of what is deployed, with these arguments."""
    form = await request.form()
    path, kind = text(form, "path"), text(form, "kind")
    there = f"/workspace/at/{kind}/{path}"
    try:
        arguments = json.loads(text(form, "args") or "{}")
    except json.JSONDecodeError as error:
        return view.redirect(there, f"The arguments are no JSON: {error}.", "bad", "nothing was queued")
    if not isinstance(arguments, dict):
        return view.redirect(there, "The arguments are no JSON object.", "bad", 'write {"name": value}')
    made = await work(_queue, path, kind == "flow", json.dumps(arguments).encode(), settings)
    note.tell("run script", path, after=made)
    return view.redirect(f"/runs/{made}", f"Queued: {path}, with the arguments that were given.")


def _queue(store: Store, path: str, is_flow: bool, arguments: bytes, settings: Settings) -> str:  # noqa: FBT001
    version = latest(store, path, settings.worker.default_timeout_s, is_flow=is_flow)
    run = make_run(path, version.version, version.timeout_s, arguments, "api")
    now_ns = time.time_ns()
    store.run(create_runs([run], iso_utc(now_ns), now_ns // 1000))
    return run.id


routes = Router("/", route_handlers=[workspace, item, run_script])
