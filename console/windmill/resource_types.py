"""Resource types: `<name>.resource-type.yaml`, a schema that Headrace itself does not look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from litestar import Response, Router, delete, get, post

from console.answers import as_text, created
from console.auditing import Note, deployed_by
from console.callers import Caller
from console.edits import anew, document, type_file
from console.errors import not_found
from console.needs import needs
from console.windmill.bodies import given
from console.workspace import Workspace
from shared.run_record import iso_ms
from shared.workspace.layout import RESOURCE_TYPE
from shared.workspace.render import yaml_text

_PASSWORD: Final = {"type": "string", "password": True}
_BROKER_SCHEMA: Final = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["broker", "port"],
    "properties": {
        "broker": {"type": "string"},
        "port": {"type": "integer"},
        "credentials": {"type": "object", "properties": {"username": {"type": "string"}, "password": _PASSWORD}},
        "tls": {
            "type": "object",
            "properties": {
                "enabled": {"type": "boolean"},
                "ca_certificate": {"type": "string"},
                "client_certificate": _PASSWORD,
                "pkcs12_client_certificate": {"type": "string"},
                "pkcs12_certificate_password": _PASSWORD,
            },
        },
        "websocket_path": {"type": "string"},
        "max_queued_messages": {"type": "integer", "minimum": 0},
    },
}
_BUILT_IN: Final[Mapping[str, Mapping[str, Any]]] = {
    "mqtt": {"description": "MQTT broker", "schema": _BROKER_SCHEMA},
    "state": {"description": "What a script keeps from run to run", "schema": {}},
}
"""Types that are there without a file; a file of the same name wins."""


class NewType(msgspec.Struct, frozen=True):
    """Body of create."""

    name: str
    schema: Any = None
    description: str | None = None


class TypeChange(msgspec.Struct, frozen=True):
    """Body of update: what is absent stays."""

    schema: Any = None
    description: str | None = None


@post("/create", opt=needs("deploy"))
async def create_type(data: NewType, content: Workspace, caller: Caller, note: Note) -> Response[str]:
    """Deploy a new type."""
    file = type_file(data.name)
    text = yaml_text(given(description=data.description, schema=data.schema or {}))
    pushed = await content.edit(anew(file, text, f"Resource type {data.name} already exists"), caller.name)
    note.tell("create resource type", data.name, **deployed_by(pushed))
    return created(f"resource_type {data.name} created")


@get("/get/{name:str}", opt=needs("read", runs=True))
async def get_type(name: str, content: Workspace) -> dict[str, Any]:
    """One type."""
    return await _row(name, await _known(name, content), content)


@get("/exists/{name:str}", opt=needs("read", runs=True))
async def exists_type(name: str, content: Workspace) -> bool:
    """Whether there is such a type."""
    return name in await _types(content)


@get("/list", opt=needs("read", runs=True))
async def list_types(content: Workspace) -> list[dict[str, Any]]:
    """All types by name."""
    return [await _row(name, found, content) for name, found in sorted((await _types(content)).items())]


@get("/listnames", opt=needs("read", runs=True))
async def list_names(content: Workspace) -> list[str]:
    """The names of all types."""
    return sorted(await _types(content))


@post("/update/{name:str}", status_code=200, opt=needs("deploy"))
async def update_type(name: str, data: TypeChange, content: Workspace, caller: Caller, note: Note) -> Response[str]:
    """Deploy a type with another schema or description."""
    known = await _known(name, content)
    file = type_file(name)

    def change(texts: Mapping[str, str]) -> dict[str, str | None]:
        before = document(texts, file) or dict(known)
        return {file: yaml_text(before | given(schema=data.schema, description=data.description))}

    pushed = await content.edit(change, caller.name)
    note.tell("change resource type", name, **deployed_by(pushed))
    return as_text(f"resource_type {name} updated")


@delete("/delete/{name:str}", status_code=200, opt=needs("deploy"))
async def delete_type(name: str, content: Workspace, caller: Caller, note: Note) -> Response[str]:
    """Delete a type; resources of it stay."""
    file = type_file(name)
    if file not in await content.texts():
        raise not_found(f"Resource type not found with name: {name}")
    pushed = await content.edit({file: None}, caller.name)
    note.tell("delete resource type", name, **deployed_by(pushed))
    return as_text(f"resource_type {name} deleted")


async def _types(content: Workspace) -> dict[str, Mapping[str, Any]]:
    texts = await content.texts()
    names = [file.removesuffix(RESOURCE_TYPE) for file in texts if file.endswith(RESOURCE_TYPE)]
    return dict(_BUILT_IN) | {name: document(texts, name + RESOURCE_TYPE) for name in names}


async def _known(name: str, content: Workspace) -> Mapping[str, Any]:
    found = (await _types(content)).get(name)
    if found is None:
        raise not_found(f"Resource type not found with name: {name}")
    return found


async def _row(name: str, found: Mapping[str, Any], content: Workspace) -> dict[str, Any]:
    row = {
        "workspace_id": content.name,
        "name": name,
        "schema": found.get("schema") or {},
        "description": found.get("description") or "",
    }
    changed = (await content.changes()).newest.get(f"file:{name}{RESOURCE_TYPE}")
    return row | ({"created_by": changed.author, "edited_at": iso_ms(changed.at)} if changed else {})


routes = Router(
    "/resources/type",
    route_handlers=[create_type, get_type, exists_type, list_types, list_names, update_type, delete_type],
)
