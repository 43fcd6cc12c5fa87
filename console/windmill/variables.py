"""Variables."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Response, Router, get, post

from console.answers import as_json, as_text, created
from console.callers import Caller, RunCaller
from console.errors import bad_request, forbidden
from console.needs import needs
from console.workspace import Workspace
from shared.definitions import Variable


class NewVariable(msgspec.Struct, frozen=True):
    """Body of create."""

    path: str
    value: str
    is_secret: bool
    description: str = ""


class VariableChange(msgspec.Struct, frozen=True):
    """Body of update: what is absent stays."""

    path: str | None = None
    value: str | None = None
    is_secret: bool | None = None
    description: str | None = None


@get("/get_value/{path:path}", opt=needs("read", runs=True))
async def get_value(path: str, content: Workspace, caller: Caller) -> Response[bytes]:
    """The plain value as a JSON string; of a secret one only for a run, which may read what it needs."""
    variable = await content.variable(path.strip("/"))
    if variable.is_secret and not isinstance(caller, RunCaller):
        raise forbidden(f"variable {variable.path} is secret: only runs may read it")
    return as_json(content.opened(variable))


@get("/get/{path:path}", opt=needs("read", runs=True))
async def get_variable(path: str, content: Workspace, caller: Caller, *, decrypt_secret: bool = True) -> dict[str, Any]:
    """A variable with its plain value; that of a secret one only runs may read."""
    variable = await content.variable(path.strip("/"))
    may_open = decrypt_secret and isinstance(caller, RunCaller)
    shown = content.opened(variable) if may_open or not variable.is_secret else None
    return _row(content, variable, shown)


@get("/exists/{path:path}", opt=needs("read", runs=True))
async def exists_variable(path: str, content: Workspace) -> bool:
    """Whether there is one."""
    return path.strip("/") in (await content.current()).variables


@get("/list", opt=needs("read", runs=True))
async def list_variables(content: Workspace) -> list[dict[str, Any]]:
    """All variables, those that are secret without their value."""
    variables = (await content.current()).variables
    return [_row(content, each, None if each.is_secret else each.value) for _, each in sorted(variables.items())]


@post("/create", opt=needs("deploy", runs=True))
async def create_variable(data: NewVariable, content: Workspace, caller: Caller) -> Response[str]:
    """Deploy a new variable."""
    if data.path in (await content.current()).variables:
        raise bad_request(f"Variable {data.path} already exists")
    await content.put(Variable(data.path, data.value, data.is_secret, data.description), caller.name)
    return created(f"variable {data.path} created")


@post("/update/{path:path}", status_code=200, opt=needs("deploy", runs=True))
async def update_variable(path: str, data: VariableChange, content: Workspace, caller: Caller) -> Response[str]:
    """Deploy a variable that is there with another value, description or secrecy."""
    known = await content.variable(path.strip("/"))
    if data.path not in {None, known.path}:
        raise bad_request("a variable cannot be renamed here")
    changed = Variable(
        known.path,
        content.opened(known) if data.value is None else data.value,
        known.is_secret if data.is_secret is None else data.is_secret,
        known.description if data.description is None else data.description,
    )
    await content.put(changed, caller.name)
    return as_text(f"variable {known.path} updated (npath: {known.path})")


def _row(content: Workspace, variable: Variable, value: str | None) -> dict[str, Any]:
    return {
        "workspace_id": content.name,
        "path": variable.path,
        "value": value,
        "is_secret": variable.is_secret,
        "description": variable.description,
        "extra_perms": {},
        "is_oauth": False,
        "is_expired": False,
        "is_refreshed": False,
        "is_linked": False,
        "is_draft": False,
    }


routes = Router(
    "/variables",
    route_handlers=[get_value, get_variable, exists_variable, list_variables, create_variable, update_variable],
)
