"""Resources, and the state that scripts keep in resources of the type `state`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from litestar import Response, Router, delete, get, post

from console.answers import as_json, as_text, created
from console.auditing import Note, deployed_by
from console.callers import Caller, RunCaller
from console.edits import anew, document, file_of
from console.errors import bad_request
from console.masking import told
from console.needs import needs
from console.paging import Paging
from console.windmill.bodies import given
from console.windmill.identity import USERNAME
from console.windmill.listing import FILTERS_OF_THINGS, Filters
from console.workspace import STATE_TYPE, Workspace
from shared.definitions import Resource
from shared.run_record import iso_ms
from shared.stamps import Stamps
from shared.workspace.layout import RESOURCE
from shared.workspace.render import yaml_text


class NewResource(msgspec.Struct, frozen=True):
    """Body of create."""

    path: str
    value: Any
    resource_type: str
    description: str | None = None
    labels: list[str] | None = None


class ResourceChange(msgspec.Struct, frozen=True):
    """Body of update: what is absent stays."""

    path: str | None = None
    value: Any = msgspec.UNSET
    resource_type: str | None = None
    description: str | None = None
    labels: list[str] | None = None


class NewValue(msgspec.Struct, frozen=True):
    """Body of update_value."""

    value: Any


@get("/get/{path:path}", opt=needs("read", runs=True))
async def get_resource(path: str, content: Workspace, caller: Caller) -> dict[str, Any]:
    """A resource with its value as it was written."""
    resource = told(await content.resource(path.strip("/")), caller)
    return _row(content.name, resource, await content.texts(), await content.changes())


@get("/get_value/{path:path}", opt=needs("read", runs=True))
async def get_value(path: str, content: Workspace, caller: Caller) -> Response[bytes]:
    """The value as it was written."""
    return as_json(told(await content.resource(path.strip("/")), caller).value)


@get("/get_value_interpolated/{path:path}", opt=needs("read", runs=True))
async def get_value_interpolated(path: str, content: Workspace, caller: Caller) -> Response[bytes]:
    """The value with `$var:` and `$res:` put in place for a run; for others, who are told no secrets, as written."""
    resource = await content.resource(path.strip("/"))
    if resource.resource_type == STATE_TYPE or not isinstance(caller, RunCaller):
        return as_json(told(resource, caller).value)
    return as_json((await content.current()).values.resolve(resource.value))


@get("/list", opt=needs("read", runs=True))
async def list_resources(
    content: Workspace,
    paging: Paging,
    caller: Caller,
    filters: Filters,
    resource_type: str = "",
    resource_type_exclude: str = "",
) -> list[dict[str, Any]]:
    """Resources by path, states too, page by page. Both `resource_type` are lists with commas."""
    wanted, unwanted = resource_type.split(","), resource_type_exclude.split(",")
    texts, changes = await content.texts(), await content.changes()
    rows = [
        _row(content.name, told(each, caller), texts, changes)
        for each in await content.resources()
        if (not resource_type or each.resource_type in wanted) and each.resource_type not in unwanted
    ]
    return paging.of(filters.of(rows))


@get("/exists/{path:path}", opt=needs("read", runs=True))
async def exists_resource(path: str, content: Workspace) -> bool:
    """Whether a resource is deployed, or a state is kept."""
    return await content.find_resource(path.strip("/")) is not None


@get("/file_resource_type_to_file_ext_map", opt=needs("read"))
async def file_types() -> dict[str, str]:
    """Resources whose value is a file of its own: there are none."""
    return {}


@post("/create", opt=needs("deploy", runs=True))
async def create_resource(
    data: NewResource, content: Workspace, caller: Caller, note: Note, *, update_if_exists: bool = False
) -> Response[str]:
    """Keep a state, or deploy a resource."""
    is_deployed, taken = data.path in (await content.current()).resources, f"Resource {data.path} already exists"
    if is_deployed and not update_if_exists:
        raise bad_request(taken)
    if data.resource_type == STATE_TYPE and not is_deployed:
        await content.set_state(data.path, data.value, data.description or "")
    else:
        file = file_of("resource", data.path)
        fields = given(description=data.description, labels=data.labels)
        text = yaml_text(fields | {"value": data.value, "resource_type": data.resource_type})
        edits = {file: text} if update_if_exists else anew(file, text, taken)
        pushed = await content.edit(edits, caller.name, by_run=isinstance(caller, RunCaller))
        note.tell("create resource", data.path, **deployed_by(pushed))
    return created(f"resource {data.path} created")


@post("/update/{path:path}", status_code=200, opt=needs("deploy", runs=True))
async def update_resource(
    path: str, data: ResourceChange, content: Workspace, caller: Caller, note: Note
) -> Response[str]:
    """Deploy a resource that is there with another path, value, type or description; give a state another value."""
    known = await content.resource(path.strip("/"))
    current = await content.current()
    changed = given(resource_type=data.resource_type, description=data.description, labels=data.labels)
    if data.value is not msgspec.UNSET:
        changed["value"] = data.value
    if known.path not in current.resources:
        if data.path not in {None, known.path}:
            raise bad_request(f"{known.path} is a state, and stays where it is")
        await content.set_state(known.path, changed.get("value", known.value), known.description)
        return as_text(f"resource {known.path} updated")
    target = known.path if data.path is None else data.path
    file, moved = file_of("resource", known.path), file_of("resource", target)
    if target != known.path and target in current.resources:
        raise bad_request(f"Resource {target} already exists")

    def change(texts: Mapping[str, str]) -> dict[str, str | None]:
        if moved != file and moved in texts:
            raise bad_request(f"Resource {target} already exists")
        text = yaml_text((document(texts, file) or _as_file(known)) | changed)
        return {moved: text} if moved == file else {moved: text, file: None}

    pushed = await content.edit(change, caller.name, by_run=isinstance(caller, RunCaller))
    note.tell("change resource", known.path, **deployed_by(pushed))
    return as_text(f"resource {known.path} updated")


@post("/update_value/{path:path}", status_code=200, opt=needs("deploy", runs=True))
async def update_value(path: str, data: NewValue, content: Workspace, caller: Caller, note: Note) -> Response[str]:
    """Give a state or a deployed resource another value."""
    known = path.strip("/")
    await update_resource.fn(known, ResourceChange(value=data.value), content, caller, note)
    return as_text(f"value of resource {known} updated")


@delete("/delete/{path:path}", status_code=200, opt=needs("deploy"))
async def delete_resource(path: str, content: Workspace, caller: Caller, note: Note, *, syncs: bool) -> Response[str]:
    """Delete a resource that nothing refers to, or a state."""
    known = await content.resource(path.strip("/"))
    pushed = None
    if known.path in (await content.current()).resources:
        pushed = await content.remove([file_of("resource", known.path)], caller.name, may_wait=syncs)
    else:
        await content.forget_state(known.path)
    note.tell("delete resource", known.path, **deployed_by(pushed))
    return as_text(f"resource {known.path} deleted")


def _as_file(resource: Resource) -> dict[str, Any]:
    """Of one that was deployed without a file."""
    return {
        "description": resource.description, "value": resource.value, "resource_type": resource.resource_type
    }  # fmt: skip


def _row(workspace: str, resource: Resource, texts: Mapping[str, str], changes: Stamps) -> dict[str, Any]:
    kept = document(texts, resource.path + RESOURCE)
    newest, oldest = changes.newest.get(f"resource:{resource.path}"), changes.oldest.get(f"resource:{resource.path}")
    return {
        "workspace_id": workspace,
        "path": resource.path,
        "resource_type": resource.resource_type,
        "value": resource.value,
        "description": resource.description,
        "extra_perms": {},
        "created_by": oldest.author if oldest else USERNAME,
        "labels": kept.get("labels"),
        "is_oauth": False,
        "is_linked": False,
        "is_refreshed": False,
        "is_draft": False,
    } | ({"edited_at": iso_ms(newest.at)} if newest else {})


routes = Router(
    "/resources",
    route_handlers=[
        get_resource, get_value, get_value_interpolated, list_resources, exists_resource, file_types, create_resource,
        update_resource, update_value, delete_resource,
    ],
    dependencies=FILTERS_OF_THINGS,
)  # fmt: skip
