"""Flows: what is changed here is a deployment of the flow's folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from litestar import Response, Router, delete, get, post

from console.answers import as_json, as_text, created
from console.auditing import Note, deployed_by
from console.callers import Caller
from console.described import described
from console.edits import check_length
from console.errors import bad_request, not_found
from console.needs import needs
from console.paging import Paging
from console.windmill.bodies import checked, given, without
from console.windmill.flow_files import FlowBody, deletions, edits_of, folder_of, paths_of, row
from console.windmill.listing import FILTERS_OF_CODE, Filters
from console.workspace import Workspace
from shared.deploy import Pushed
from shared.run_record import iso_ms


class Archived(msgspec.Struct, frozen=True):
    """Body of archive."""

    archived: bool


@post("/create", opt=needs("deploy") | described(body=FlowBody))
async def create_flow(data: dict[str, Any], content: Workspace, caller: Caller, note: Note) -> Response[str]:
    """Deploy a new flow; answers with its path."""
    body = checked(data, FlowBody)
    pushed = await _deploy(body, data, content, caller, is_new=True)
    note.tell("create flow", body.path, **deployed_by(pushed))
    return created(body.path)


@post("/update/{path:path}", status_code=200, opt=needs("deploy") | described(body=FlowBody))
async def update_flow(path: str, data: dict[str, Any], content: Workspace, caller: Caller, note: Note) -> Response[str]:
    """Deploy a flow that is there otherwise; it cannot be renamed here."""
    body = checked(data, FlowBody)
    known = await _known(path, content)
    if body.path != known:
        raise bad_request(f"{known} cannot be renamed: triggers and flows name it")
    pushed = await _deploy(body, data, content, caller)
    note.tell("change flow", known, **deployed_by(pushed))
    return as_text(known)


@get("/get/{path:path}", opt=needs("read", runs=True))
async def get_flow(path: str, content: Workspace) -> dict[str, Any]:
    """A flow as it is deployed, with the code of its steps."""
    return await _row(await _known(path, content), content)


@get("/list", opt=needs("read", runs=True))
async def list_flows(content: Workspace, paging: Paging, filters: Filters) -> list[dict[str, Any]]:
    """Flows without their values, those that were changed last first."""
    texts, changes = await content.texts(), await content.changes()
    rows = [row(path, texts, changes, content.name) for path in paths_of(texts)]
    found = paging.of(filters.of(rows, at="edited_at"))
    return [without(each, ("value",)) | {"value": {"modules": []}} for each in found]


@get("/list_paths", opt=needs("read", runs=True))
async def list_paths(content: Workspace) -> list[str]:
    """The paths of all flows."""
    return list(paths_of(await content.texts()))


@get("/exists/{path:path}", opt=needs("read", runs=True))
async def exists_flow(path: str, content: Workspace) -> bool:
    """Whether there is a flow at a path."""
    return folder_of(await content.texts(), path.strip("/")) is not None


@get("/history/p/{path:path}", opt=needs("read"))
async def history(path: str, content: Workspace) -> list[dict[str, Any]]:
    """Versions of a flow, newest first, as far as the list of deployments goes back."""
    known = await _known(path, content)
    versions = await content.versions_of(f"flow:{known}")
    return [
        {"id": len(versions) - place, "created_at": iso_ms(each.at), "deployment_msg": each.message}
        | given(created_by=each.author or None)
        for place, each in enumerate(versions)
    ]


@post("/archive/{path:path}", status_code=200, opt=needs("deploy"))
async def archive_flow(
    path: str, data: Archived, content: Workspace, caller: Caller, note: Note, *, syncs: bool
) -> Response[bytes]:
    """Delete a flow that nothing names: nothing is archived here, the list of deployments has it."""
    if not data.archived:
        raise bad_request("nothing is archived here: headrace rollback goes back to a deployment")
    await _delete(path, content, caller, note, syncs=syncs)
    return as_json(None)


@delete("/delete/{path:path}", status_code=200, opt=needs("deploy"))
async def delete_flow(path: str, content: Workspace, caller: Caller, note: Note, *, syncs: bool) -> Response[str]:
    """Delete a flow that nothing names."""
    return as_text(f"Flow {await _delete(path, content, caller, note, syncs=syncs)} deleted")


async def _deploy(
    body: FlowBody, fields: Mapping[str, Any], content: Workspace, caller: Caller, *, is_new: bool = False
) -> Pushed:
    check_length(body.path)

    def write(texts: Mapping[str, str]) -> dict[str, str | None]:
        if is_new and folder_of(texts, body.path) is not None:
            raise bad_request(f"Flow {body.path} already exists")
        return edits_of(body.path, fields, texts)

    return await content.edit(write, caller.name, body.deployment_message or "")


async def _delete(path: str, content: Workspace, caller: Caller, note: Note, *, syncs: bool) -> str:
    known = await _known(path, content)
    pushed = await content.remove(deletions(known, await content.texts()), caller.name, may_wait=syncs)
    note.tell("delete flow", known, **deployed_by(pushed))
    return known


async def _known(path: str, content: Workspace) -> str:
    """The path. Raises Refusal (404)."""
    found = path.strip("/")
    if folder_of(await content.texts(), found) is None:
        raise not_found(f"Flow not found at path: {found}")
    return found


async def _row(path: str, content: Workspace) -> dict[str, Any]:
    return row(path, await content.texts(), await content.changes(), content.name)


routes = Router(
    "/flows",
    route_handlers=[
        create_flow, update_flow, get_flow, list_flows, list_paths, exists_flow, history, archive_flow, delete_flow,
    ],
    dependencies=FILTERS_OF_CODE,
)  # fmt: skip
