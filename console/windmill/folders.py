"""Folders: `f/<name>/folder.meta.yaml`. They have no owners here: what somebody may do is the scope of his token."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from litestar import Response, Router, delete, get, post

from console.answers import as_text, created
from console.auditing import Note, deployed_by
from console.callers import Caller
from console.described import described
from console.edits import anew, check_length, document
from console.errors import bad_request, not_found
from console.needs import needs
from console.paging import Paging
from console.windmill.bodies import checked, given, without
from console.windmill.identity import USERNAME
from console.workspace import Workspace
from shared.run_record import iso_ms
from shared.workspace.layout import FOLDER
from shared.workspace.render import yaml_text

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_NOT_IN_FILES: Final = ("name", "workspace_id", "created_by", "edited_at", "display_path")


class FolderChange(msgspec.Struct, frozen=True):
    """Body of update: what is absent stays; other keys are kept as they are."""

    summary: str | None = None
    owners: list[str] | None = None
    extra_perms: dict[str, bool] | None = None


class NewFolder(FolderChange, frozen=True, kw_only=True):
    """Body of create."""

    name: str


@post("/create", opt=needs("deploy") | described(body=NewFolder))
async def create_folder(data: dict[str, Any], content: Workspace, caller: Caller, note: Note) -> Response[str]:
    """Keep what is said of a folder; there is one as soon as something stands in it."""
    name = checked(data, NewFolder).name
    check_length(_file(name))
    if not _NAME.fullmatch(name):
        raise bad_request(f"{name!r} is no name for a folder: write letters, digits, _ and -")
    fields = {"summary": "", "owners": [], "extra_perms": {}} | without(data, _NOT_IN_FILES)
    pushed = await content.edit(anew(_file(name), yaml_text(fields), f"Folder {name} already exists"), caller.name)
    note.tell("create folder", name, **deployed_by(pushed))
    return created(f"Created folder {name}")


@get("/get/{name:str}", opt=needs("read"))
async def get_folder(name: str, content: Workspace) -> dict[str, Any]:
    """One folder."""
    if name not in await _names(content):
        raise not_found(f"Folder not found with name: {name}")
    return await _row(name, content)


@get("/list", opt=needs("read"))
async def list_folders(content: Workspace, paging: Paging) -> list[dict[str, Any]]:
    """All folders by name."""
    return [await _row(name, content) for name in paging.of(await _names(content))]


@get("/listnames", opt=needs("read"))
async def list_names(content: Workspace) -> list[str]:
    """The names of all folders."""
    return await _names(content)


@get("/exists/{name:str}", opt=needs("read"))
async def exists_folder(name: str, content: Workspace) -> bool:
    """Whether something stands in a folder."""
    return name in await _names(content)


@post("/update/{name:str}", status_code=200, opt=needs("deploy") | described(body=FolderChange))
async def update_folder(
    name: str, data: dict[str, Any], content: Workspace, caller: Caller, note: Note
) -> Response[str]:
    """Keep something else of a folder: what is absent stays."""
    checked(data, FolderChange)
    if name not in await _names(content):
        raise not_found(f"Folder not found with name: {name}")

    def change(texts: Mapping[str, str]) -> dict[str, str | None]:
        return {_file(name): yaml_text(document(texts, _file(name)) | without(data, _NOT_IN_FILES))}

    pushed = await content.edit(change, caller.name)
    note.tell("change folder", name, **deployed_by(pushed))
    return as_text(f"Updated folder {name}")


@delete("/delete/{name:str}", status_code=200, opt=needs("deploy"))
async def delete_folder(name: str, content: Workspace, caller: Caller, note: Note) -> Response[str]:
    """Forget what was said of a folder; what stands in it stays."""
    if _file(name) not in await content.texts():
        raise not_found(f"Folder not found with name: {name}")
    pushed = await content.edit({_file(name): None}, caller.name)
    note.tell("delete folder", name, **deployed_by(pushed))
    return as_text(f"Deleted folder {name}")


def _file(name: str) -> str:
    return f"f/{name}/{FOLDER}"


async def _names(content: Workspace) -> list[str]:
    return sorted({file.split("/")[1] for file in await content.texts() if file.startswith("f/")})


async def _row(name: str, content: Workspace) -> dict[str, Any]:
    kept = document(await content.texts(), _file(name))
    changes, changed = await content.changes(), f"file:{_file(name)}"
    newest, oldest = changes.newest.get(changed), changes.oldest.get(changed)
    known = {"workspace_id": content.name, "summary": "", "owners": [], "extra_perms": {}}
    known |= {"created_by": oldest.author if oldest else USERNAME} | given(edited_at=newest and iso_ms(newest.at))
    return known | {key: value for key, value in kept.items() if value is not None} | {"name": name}


routes = Router(
    "/folders",
    route_handlers=[create_folder, get_folder, list_folders, list_names, exists_folder, update_folder, delete_folder],
)
