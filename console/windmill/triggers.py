"""MQTT triggers: what is changed here is a deployment of the trigger's file."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec
from litestar import Response, Router, delete, get, post

from console.answers import as_text, created
from console.api.trying import TEST_S, answers_of
from console.auditing import Note
from console.blocking import Blocking
from console.callers import Caller
from console.described import TEXT, described
from console.edits import document, file_of
from console.errors import bad_request, not_found
from console.needs import needs
from console.paging import Paging
from console.windmill.captures import Connection, read_draft
from console.windmill.trigger_objects import TriggerBody, file_document, read_body, row
from console.workspace import Workspace
from shared import asking
from shared.asking import Report
from shared.config import Settings
from shared.definitions import Mode
from shared.modes import set_modes
from shared.stamps import Stamp
from shared.store import AsyncStore
from shared.trigger_list import TriggerDetails, read_details
from shared.workspace.render import yaml_text


class NewMode(msgspec.Struct, frozen=True):
    """Body of setmode. `force` is about forked workspaces, of which there are none."""

    mode: Mode
    force: bool | None = None


@post("/create", opt=needs("deploy") | described(body=TriggerBody))
async def create_trigger(data: dict[str, Any], content: Workspace, caller: Caller, note: Note) -> Response[str]:
    """Deploy a new trigger; answers with its path."""
    body = read_body(data)
    file = file_of("trigger", body.path)
    wanted = file_document(data)

    def write(texts: Mapping[str, str]) -> dict[str, str | None]:
        if file in texts:
            raise bad_request(f"Trigger already exists at path: {body.path}")
        return {file: yaml_text(wanted)}

    if body.path in (await content.current()).deployed.of_kind("trigger"):
        raise bad_request(f"Trigger already exists at path: {body.path}")
    await content.edit(write, caller.name)
    note.tell("create trigger", body.path, after=wanted)
    return created(body.path)


@get("/list", opt=needs("read"))
async def list_triggers(
    content: Workspace,
    work: Blocking,
    paging: Paging,
    path: str | None = None,
    path_start: str = "",
    label: str = "",
    *,
    is_flow: bool | None = None,
) -> list[dict[str, Any]]:
    """Triggers, those that were changed last first. `path` is what they run, `path_start` begins their own path,
    `label` is a list with commas, of which they have all.
    """
    labels = set(filter(None, label.split(",")))

    def is_wanted(row: dict[str, Any]) -> bool:
        return (
            path in {None, row["script_path"]}
            and is_flow in {None, row["is_flow"]}
            and row["path"].startswith(path_start)
            and labels <= set(row["labels"] or ())
        )

    rows = [each for each in await _rows(content, work) if is_wanted(each)]
    rows.sort(key=lambda each: each["edited_at"], reverse=True)
    return paging.of(rows)


@get("/get/{path:path}", opt=needs("read"))
async def get_trigger(path: str, content: Workspace, work: Blocking) -> dict[str, Any]:
    """One trigger."""
    found = await _deployed(path.strip("/"), content)
    return (await _rows(content, work, found))[0]


@get("/exists/{path:path}", opt=needs("read"))
async def exists_trigger(path: str, content: Workspace) -> bool:
    """Whether a trigger is deployed."""
    return path.strip("/") in (await content.current()).deployed.of_kind("trigger")


@post("/update/{path:path}", status_code=200, opt=needs("deploy") | described(body=TriggerBody))
async def update_trigger(
    path: str, data: dict[str, Any], content: Workspace, caller: Caller, note: Note
) -> Response[str]:
    """Deploy a trigger otherwise; with another `path` in the body it moves there, and keeps its session."""
    body = read_body(data)
    old = await _deployed(path.strip("/"), content)
    file, moved = file_of("trigger", old), file_of("trigger", body.path)
    if body.path != old and body.path in (await content.current()).deployed.of_kind("trigger"):
        raise bad_request(f"Trigger already exists at path: {body.path}")

    def change(texts: Mapping[str, str]) -> dict[str, str | None]:
        if moved != file and moved in texts:
            raise bad_request(f"Trigger already exists at path: {body.path}")
        before = document(texts, file)
        wanted = file_document(data, before)
        text = texts[file] if wanted == before else yaml_text(wanted)
        return {moved: text} if moved == file else {moved: text, file: None}

    before = document(await content.texts(), file)
    await content.edit(change, caller.name, renamed={body.path: old} if moved != file else {})
    note.tell("change trigger", old, before=before, after=document(await content.texts(), moved))
    return as_text(f"Trigger '{old}' updated")


@post("/setmode/{path:path}", status_code=200, opt=needs("operate"))
async def set_mode(
    path: str, data: NewMode, content: Workspace, work: Blocking, caller: Caller, settings: Settings, note: Note
) -> Response[str]:
    """Enable, disable or suspend a trigger."""
    found = await _deployed(path.strip("/"), content)
    (change,) = await work(set_modes, settings, [found], data.mode, author=caller.name, message="")
    note.tell("change mode of trigger", found, before=change.was, after=change.mode)
    return as_text(f"Trigger '{found}' {data.mode}")


@post(
    "/test", status_code=200,
    opt=needs("deploy", audited=False) | described(body=Connection, media_type="text/plain", answer=TEXT),
)  # fmt: skip
async def test_connection(data: dict[str, Any], store: AsyncStore) -> Response[bytes]:
    """Connect as a trigger would, subscribe its topics where they are given, and leave: 200, or 400 and why not.

    Both bodies are read: the fields themselves, as Windmill's server wants them, and `connection`, as its client says.
    """
    connection = data.get("connection")
    draft = read_draft(connection if isinstance(connection, dict) else data)
    problem = "ingest has not answered in time"
    async for answer in answers_of(store, asking.new_ask("test", draft=draft), TEST_S):
        if answer.kind == "report":
            report = msgspec.json.decode(answer.value, type=Report)
            refused = [f"{each.topic}: {each.problem}" for each in report.topics if each.granted is None]
            if report.ok:
                return Response(b"", media_type="text/plain")
            problem = report.problem or "; ".join(refused) or "the broker grants less than is asked for"
        elif answer.kind == "error":
            problem = msgspec.json.decode(answer.value, type=str)
    raise bad_request(problem)


@delete("/delete/{path:path}", status_code=200, opt=needs("deploy"))
async def delete_trigger(path: str, content: Workspace, caller: Caller, note: Note) -> Response[str]:
    """Delete a trigger. Its session stays at the broker until it is drained or ended (`headrace sessions`)."""
    found = await _deployed(path.strip("/"), content)
    file = file_of("trigger", found)
    before = document(await content.texts(), file)
    await content.edit({file: None}, caller.name)
    note.tell("delete trigger", found, before=before)
    return as_text(f"Trigger '{found}' deleted")


async def _deployed(path: str, content: Workspace) -> str:
    """The path. Raises Refusal (404)."""
    if path not in (await content.current()).deployed.of_kind("trigger"):
        raise not_found(f"Trigger not found at path: {path}")
    return path


async def _rows(content: Workspace, work: Blocking, *paths: str) -> list[dict[str, Any]]:
    """These triggers as rows, or all."""
    found: list[TriggerDetails] = await work(read_details, paths)
    texts, changes = await content.texts(), await content.changes()
    now_ms = time.time_ns() // 1_000_000
    rows = []
    for each in found:
        file = file_of("trigger", each.definition.path)
        changed = changes.newest.get(f"file:{file}") or changes.newest.get(f"trigger:{each.definition.path}")
        rows.append(
            row(each.definition, document(texts, file), each.session, changed or Stamp(0, "", 0), content.name, now_ms)
        )
    return rows


routes = Router(
    "/mqtt_triggers",
    route_handlers=[
        create_trigger, list_triggers, get_trigger, exists_trigger, update_trigger, set_mode, test_connection,
        delete_trigger,
    ],
)  # fmt: skip
