"""Resources, and the state that scripts keep in resources of the type `state`."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from litestar import Response, Router, get, post
from litestar.params import Parameter

from console.answers import as_json, as_text, created
from console.callers import Caller, RunCaller
from console.errors import bad_request
from console.masking import told
from console.needs import needs
from console.windmill.identity import USERNAME
from console.workspace import STATE_TYPE, Workspace
from shared.definitions import Resource

PER_PAGE = 1000


class NewResource(msgspec.Struct, frozen=True):
    """Body of create."""

    path: str
    value: Any
    resource_type: str
    description: str = ""


class NewValue(msgspec.Struct, frozen=True):
    """Body of update_value."""

    value: Any


@get("/get/{path:path}", opt=needs("read", runs=True))
async def get_resource(path: str, content: Workspace, caller: Caller) -> dict[str, Any]:
    """A resource with its value as it was written."""
    return _row(content, told(await content.resource(path.strip("/")), caller))


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


@get("/exists/{path:path}", opt=needs("read", runs=True))
async def exists_resource(path: str, content: Workspace) -> bool:
    """Whether there is one, or a state."""
    return await content.find_resource(path.strip("/")) is not None


@get("/list", opt=needs("read", runs=True))
async def list_resources(
    content: Workspace,
    caller: Caller,
    resource_type: str | None = None,
    path_start: str = "",
    page: Annotated[int, Parameter(ge=1)] = 1,
    per_page: Annotated[int, Parameter(ge=1, le=PER_PAGE)] = PER_PAGE,
) -> list[dict[str, Any]]:
    """Resources by path, states too, page by page. `resource_type` is a list with commas."""
    wanted = resource_type.split(",") if resource_type else None
    found = [
        each
        for each in await content.resources()
        if each.path.startswith(path_start) and (wanted is None or each.resource_type in wanted)
    ]
    return [_row(content, told(each, caller)) for each in found[(page - 1) * per_page : page * per_page]]


@post("/create", opt=needs("deploy", runs=True))
async def create_resource(
    data: NewResource, content: Workspace, caller: Caller, *, update_if_exists: bool = False
) -> Response[str]:
    """Keep a state, or deploy a resource."""
    is_deployed = data.path in (await content.current()).resources
    if is_deployed and not update_if_exists:
        raise bad_request(f"Resource {data.path} already exists")
    if data.resource_type == STATE_TYPE and not is_deployed:
        await content.set_state(data.path, data.value, data.description)
    else:
        resource = Resource(data.path, data.resource_type, data.value, data.description)
        await content.put(resource, caller.name)
    return created(f"resource {data.path} created")


@post("/update_value/{path:path}", status_code=200, opt=needs("deploy", runs=True))
async def update_value(path: str, data: NewValue, content: Workspace, caller: Caller) -> Response[str]:
    """Give a state or a deployed resource another value."""
    known = await content.resource(path.strip("/"))
    if known.path in (await content.current()).resources:
        await content.put(msgspec.structs.replace(known, value=data.value), caller.name)
    else:
        await content.set_state(known.path, data.value, known.description)
    return as_text(f"value of resource {known.path} updated")


def _row(content: Workspace, resource: Resource) -> dict[str, Any]:
    return {
        "workspace_id": content.name,
        "path": resource.path,
        "resource_type": resource.resource_type,
        "value": resource.value,
        "description": resource.description,
        "extra_perms": {},
        "created_by": USERNAME,
        "is_oauth": False,
        "is_linked": False,
        "is_refreshed": False,
        "is_draft": False,
    }


routes = Router(
    "/resources",
    route_handlers=[
        get_resource,
        get_value,
        get_value_interpolated,
        exists_resource,
        list_resources,
        create_resource,
        update_value,
    ],
)
