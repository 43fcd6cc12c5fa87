"""Variables: what is changed here is a deployment of the variable's file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from litestar import Response, Router, delete, get, post

from console.answers import as_json, as_text, created
from console.auditing import Note, deployed_by
from console.callers import Caller, RunCaller
from console.edits import anew, document, file_of
from console.errors import bad_request, forbidden
from console.needs import needs
from console.paging import Paging
from console.windmill.bodies import given
from console.windmill.identity import CONTEXTUAL
from console.windmill.listing import FILTERS_OF_THINGS, Filters
from console.workspace import Workspace
from shared.definitions import Variable
from shared.errors import SecretError
from shared.run_record import iso_ms
from shared.stamps import Stamps
from shared.workspace.layout import VARIABLE
from shared.workspace.render import yaml_text


class NewVariable(msgspec.Struct, frozen=True):
    """Body of create. A secret one without a value keeps that of the one that is deployed."""

    path: str
    value: str | None = None
    is_secret: bool = False
    description: str = ""
    labels: list[str] | None = None


class VariableChange(msgspec.Struct, frozen=True):
    """Body of update: what is absent stays."""

    path: str | None = None
    value: str | None = None
    is_secret: bool | None = None
    description: str | None = None
    labels: list[str] | None = None


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
    return _row(content.name, variable, shown, await content.texts(), await content.changes())


@get("/exists/{path:path}", opt=needs("read", runs=True))
async def exists_variable(path: str, content: Workspace) -> bool:
    """Whether a variable is deployed."""
    return path.strip("/") in (await content.current()).variables


@get("/list", opt=needs("read", runs=True))
async def list_variables(content: Workspace, paging: Paging, filters: Filters) -> list[dict[str, Any]]:
    """Variables by path, those that are secret without their value, by which they are not found either."""
    variables = (await content.current()).variables.values()
    texts, changes = await content.texts(), await content.changes()
    rows = [_row(content.name, each, None if each.is_secret else each.value, texts, changes) for each in variables]
    return paging.of(filters.of(rows))


@get("/list_contextual", opt=needs("read", runs=True))
async def list_contextual() -> list[dict[str, Any]]:
    """What a run finds in its environment."""
    return [{"name": name, "value": "", "description": said, "is_custom": False} for name, said in CONTEXTUAL.items()]


@post("/encrypt", status_code=200, opt=needs("deploy", audited=False))
async def encrypt_value(data: str, content: Workspace) -> Response[str]:
    """The value of a secret as it may be written down, and given with `already_encrypted`: it opens here alone."""
    return as_text(content.encrypted(data))


@post("/create", opt=needs("deploy", runs=True))
async def create_variable(
    data: NewVariable, content: Workspace, caller: Caller, note: Note, *, already_encrypted: bool = False
) -> Response[str]:
    """Deploy a new variable."""
    taken = f"Variable {data.path} already exists"
    if data.path in (await content.current()).variables:
        raise bad_request(taken)
    if data.value is None and not data.is_secret:
        raise bad_request(f"Variable {data.path} has no value")
    file = file_of("variable", data.path)
    value = _plain(data.path, data.value, content) if already_encrypted and data.is_secret else data.value
    text = yaml_text(given(description=data.description, value=value, is_secret=data.is_secret, labels=data.labels))
    pushed = await content.edit(anew(file, text, taken), caller.name, by_run=isinstance(caller, RunCaller))
    note.tell("create variable", data.path, **deployed_by(pushed))
    return created(f"variable {data.path} created")


@post("/update/{path:path}", status_code=200, opt=needs("deploy", runs=True))
async def update_variable(
    path: str,
    data: VariableChange,
    content: Workspace,
    caller: Caller,
    note: Note,
    *,
    already_encrypted: bool = False,
) -> Response[str]:
    """Deploy a variable that is there with another path, value, description or secrecy."""
    known = await content.variable(path.strip("/"))
    target = known.path if data.path is None else data.path
    file, moved = file_of("variable", known.path), file_of("variable", target)
    if target != known.path and target in (await content.current()).variables:
        raise bad_request(f"Variable {target} already exists")
    is_secret = known.is_secret if data.is_secret is None else data.is_secret
    value = _plain(known.path, data.value, content) if already_encrypted and is_secret else data.value
    changed = given(value=value, description=data.description, is_secret=data.is_secret, labels=data.labels)
    gives_up = known.is_secret and data.is_secret is False
    if "value" not in changed and (moved != file or gives_up):  # a sealed value opens at its own path alone
        if gives_up and not isinstance(caller, RunCaller):
            raise bad_request(f"Variable {known.path} is secret: give a value that may be read")
        changed["value"] = content.opened(known)

    def change(texts: Mapping[str, str]) -> dict[str, str | None]:
        if moved != file and moved in texts:
            raise bad_request(f"Variable {target} already exists")
        text = yaml_text((document(texts, file) or _as_file(known)) | changed)
        return {moved: text} if moved == file else {moved: text, file: None}

    pushed = await content.edit(change, caller.name, by_run=isinstance(caller, RunCaller))
    note.tell("change variable", known.path, **deployed_by(pushed))
    return as_text(f"variable {known.path} updated (npath: {target})")


@delete("/delete/{path:path}", status_code=200, opt=needs("deploy"))
async def delete_variable(path: str, content: Workspace, caller: Caller, note: Note, *, syncs: bool) -> Response[str]:
    """Delete a variable that nothing refers to."""
    known = await content.variable(path.strip("/"))
    pushed = await content.remove([file_of("variable", known.path)], caller.name, may_wait=syncs)
    note.tell("delete variable", known.path, **deployed_by(pushed))
    return as_text(f"variable {known.path} deleted")


def _plain(path: str, value: str | None, content: Workspace) -> str | None:
    """A value that is said to be encrypted, in plain. Raises Refusal (400)."""
    if value is None:
        return None
    try:
        return content.decrypted(path, value)
    except SecretError as error:
        raise bad_request(
            f"the value of {path} is said to be encrypted (already_encrypted), and cannot be opened: encrypt it with "
            "variables/encrypt, or give it in plain (wmill: --plain-secrets)"
        ) from error


def _as_file(variable: Variable) -> dict[str, Any]:
    """Of one that was deployed without a file; a secret without a value keeps what it has."""
    fields: dict[str, Any] = {"description": variable.description, "is_secret": variable.is_secret}
    return fields if variable.is_secret else fields | {"value": variable.value}


def _row(
    workspace: str, variable: Variable, value: str | None, texts: Mapping[str, str], changes: Stamps
) -> dict[str, Any]:
    kept = document(texts, variable.path + VARIABLE)
    changed = changes.newest.get(f"variable:{variable.path}")
    return {
        "workspace_id": workspace,
        "path": variable.path,
        "value": value,
        "is_secret": variable.is_secret,
        "description": variable.description,
        "extra_perms": {},
        "labels": kept.get("labels"),
        "is_oauth": False,
        "is_expired": False,
        "is_refreshed": False,
        "is_linked": False,
        "is_draft": False,
    } | ({"edited_at": iso_ms(changed.at)} if changed else {})


routes = Router(
    "/variables",
    route_handlers=[
        get_value, get_variable, exists_variable, list_variables, list_contextual, create_variable, update_variable,
        delete_variable, encrypt_value,
    ],
    dependencies=FILTERS_OF_THINGS,
)  # fmt: skip
