"""Scripts: what is changed here is a deployment of the script's files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from litestar import Response, Router, get, post

from console.answers import as_json, as_text, created
from console.auditing import Note, deployed_by
from console.callers import Caller
from console.described import described
from console.edits import document
from console.errors import bad_request, not_found
from console.needs import needs
from console.paging import Paging
from console.windmill.bodies import checked, given, without
from console.windmill.listing import FILTERS_OF_CODE, Filters
from console.windmill.script_files import (
    ScriptBody,
    ScriptFile,
    deletions,
    edits_of,
    files_of,
    read_script,
    read_scripts,
    row,
    version_of,
)
from console.workspace import Workspace
from shared.definitions import File, encode_definition
from shared.run_record import iso_ms
from shared.workspace.layout import METADATA, source_of


@post("/create", opt=needs("deploy") | described(body=ScriptBody))
async def create_script(data: dict[str, Any], content: Workspace, caller: Caller, note: Note) -> Response[str]:
    """Deploy a script, or another version of one; answers with the version."""
    body = checked(data, ScriptBody)
    return created(await _deploy(body, data, content, caller, note))


@post("/update/{path:path}", status_code=201, opt=needs("deploy") | described(body=ScriptBody))
async def update_script(
    path: str, data: dict[str, Any], content: Workspace, caller: Caller, note: Note
) -> Response[str]:
    """The same for one that is there; it cannot be renamed here."""
    body = checked(data, ScriptBody)
    await _known(path, content)
    if body.path != path.strip("/"):
        raise bad_request(f"{path.strip('/')} cannot be renamed: triggers and flows name it")
    return created(await _deploy(msgspec.structs.replace(body, auto_parent=True), data, content, caller, note))


@get("/get/p/{path:path}", opt=needs("read", runs=True))
async def get_by_path(path: str, content: Workspace) -> dict[str, Any]:
    """A script as it is deployed."""
    return await _row(await _known(path, content), content)


@get("/get/h/{version:str}", opt=needs("read", runs=True))
async def get_by_version(version: str, content: Workspace) -> dict[str, Any]:
    """A version of a script, which may not be the newest: its code, with the metadata of now."""
    script = await content.script_version(version)
    texts = {script.entry: script.modules[script.entry]}
    source = source_of(script.entry)
    if source is None:
        raise not_found(f"Script not found with hash: {version}")
    metadata = document(await content.texts(), script.path + METADATA)
    found = ScriptFile(script.entry, source, texts[script.entry], metadata, script.lock)
    known = await _row(found, content) | {"hash": version, "path": script.path}
    deployed = [each for each in await content.versions_of(f"script:{script.path}") if each.version == version]
    made = {"created_at": iso_ms(deployed[0].at), "created_by": deployed[0].author} if deployed else {}
    return known | made


@get("/list", opt=needs("read", runs=True))
async def list_scripts(
    content: Workspace, paging: Paging, filters: Filters, languages: str | None = None, kinds: str | None = None
) -> list[dict[str, Any]]:
    """Scripts without their code, those that were changed last first. `languages` and `kinds` are lists with commas."""
    deployed, changes = (await content.current()).deployed, await content.changes()
    rows = [row(each, deployed, changes, content.name) for each in read_scripts(await content.texts())]
    rows = [
        each
        for each in rows
        if (languages is None or each["language"] in languages.split(","))
        and (kinds is None or each["kind"] in kinds.split(","))
    ]
    found = paging.of(filters.of(rows, at="created_at"))
    return [without(each, ("content", "lock")) | {"content": ""} for each in found]


@get("/list_paths", opt=needs("read", runs=True))
async def list_paths(content: Workspace) -> list[str]:
    """The paths of all scripts."""
    return [each.source.path for each in read_scripts(await content.texts())]


@get(["/raw/p/{path:path}", "/raw_unpinned/p/{path:path}"], opt=needs("read", runs=True))
async def raw_script(path: str, content: Workspace) -> Response[str]:
    """The code; the path has the extension of its language."""
    file, texts = path.strip("/"), await content.texts()
    source = source_of(file)
    script = texts.get(file) if source else None
    if script is None:
        found = read_script(texts, source.path if source else file)
        script = found.content if found else None
    if script is None:
        raise not_found(f"Script not found at path: {file}")
    return as_text(script)


@get("/exists/p/{path:path}", opt=needs("read", runs=True))
async def exists_script(path: str, content: Workspace) -> bool:
    """Whether there is code at a path."""
    return read_script(await content.texts(), path.strip("/")) is not None


@get("/history/p/{path:path}", opt=needs("read"))
async def history(path: str, content: Workspace) -> list[dict[str, Any]]:
    """Versions of a script, newest first, as far as the list of deployments goes back."""
    await _known(path, content)
    versions = await content.versions_of(f"script:{path.strip('/')}")
    return [
        {"script_hash": each.version, "deployment_msg": each.message, "created_at": iso_ms(each.at)}
        | given(created_by=each.author or None)
        for each in versions
    ]


@get("/get_latest_version/{path:path}", opt=needs("read"))
async def latest_version(path: str, content: Workspace) -> dict[str, Any]:
    """The version that is deployed now."""
    script = await _known(path, content)
    return {"script_hash": version_of(script, (await content.current()).deployed)}


@get("/deployment_status/h/{version:str}", opt=needs("read"))
async def deployment_status(version: str, content: Workspace) -> dict[str, Any]:
    """What is deployed has its packages already."""
    script = await content.script_version(version)
    return {"lock": script.lock, "lock_error_logs": None}


@post("/archive/p/{path:path}", status_code=200, opt=needs("deploy"))
async def archive_script(path: str, content: Workspace, caller: Caller, note: Note, *, syncs: bool) -> Response[bytes]:
    """Delete a script that nothing names: nothing is archived here, the list of deployments has it."""
    await _delete(path, content, caller, note, syncs=syncs)
    return as_json(None)


@post("/delete/p/{path:path}", status_code=200, opt=needs("deploy"))
async def delete_script(path: str, content: Workspace, caller: Caller, note: Note, *, syncs: bool) -> Response[bytes]:
    """Delete a script that nothing names."""
    return as_json(await _delete(path, content, caller, note, syncs=syncs))


async def _deploy(body: ScriptBody, fields: Mapping[str, Any], content: Workspace, caller: Caller, note: Note) -> str:
    """The version that is deployed then. Raises Refusal (400) where another one came between, WorkspaceError."""
    current = await content.current()
    before = read_script(await content.texts(), body.path)
    if before is not None and not body.auto_parent:
        newest = version_of(before, current.deployed)
        if body.parent_hash is None:
            raise bad_request(f"Path conflict for {body.path} with non-archived hash {newest}")
        if body.parent_hash != newest:
            raise bad_request(f"parent_hash {body.parent_hash} is not the version that is deployed, which is {newest}")

    seen = files_of(body.path, (file for file in current.deployed.of_kind("file")))
    versions = {file: current.deployed.of_kind("file")[file] for file in seen}

    def write(texts: Mapping[str, str]) -> dict[str, str | None]:
        now = {file: encode_definition(File(file, texts[file]))[0] for file in files_of(body.path, texts)}
        if not body.auto_parent and now != versions:  # somebody has deployed another version since it was looked at
            raise bad_request(f"Path conflict for {body.path}: another version of it has been deployed meanwhile")
        return edits_of(body, fields, texts)

    pushed = await content.edit(write, caller.name, body.deployment_message or "")
    note.tell("change script" if before else "create script", body.path, **deployed_by(pushed))
    return version_of(await _known(body.path, content), (await content.current()).deployed)


async def _delete(path: str, content: Workspace, caller: Caller, note: Note, *, syncs: bool) -> str:
    script = await _known(path, content)
    pushed = await content.remove(deletions(script, await content.texts()), caller.name, may_wait=syncs)
    note.tell("delete script", script.source.path, **deployed_by(pushed))
    return script.source.path


async def _known(path: str, content: Workspace) -> ScriptFile:
    """Raises Refusal (404)."""
    found = read_script(await content.texts(), path.strip("/"))
    if found is None:
        raise not_found(f"Script not found at path: {path.strip('/')}")
    return found


async def _row(script: ScriptFile, content: Workspace) -> dict[str, Any]:
    return row(script, (await content.current()).deployed, await content.changes(), content.name)


routes = Router(
    "/scripts",
    route_handlers=[
        create_script, update_script, get_by_path, get_by_version, list_scripts, list_paths, raw_script, exists_script,
        history, latest_version, deployment_status, archive_script, delete_script,
    ],
    dependencies=FILTERS_OF_CODE,
)  # fmt: skip
