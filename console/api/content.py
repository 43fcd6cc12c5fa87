"""What is deployed: scripts, flows, resources, variables, files. Values of secret variables are never told."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Router, get

from console.blocking import Blocking
from console.callers import Caller
from console.errors import not_found
from console.masking import hides, mask_file, mask_value
from console.needs import needs
from console.workspace import Workspace
from shared.definitions import File, Flow, Kind, Resource, Script, Variable
from shared.deploy import read_all, read_now
from shared.deployment_document import MASK
from shared.modes import read_triggers
from shared.store import Store


class ScriptItem(msgspec.Struct, frozen=True):
    """A script in a list. `used_by`: triggers that run it."""

    path: str
    version: str
    language: str
    has_preprocessor: bool
    used_by: list[str]


class ScriptPage(msgspec.Struct, frozen=True):
    """A script with its source: relative path → text, its own and those of modules that it imports."""

    version: str
    script: Script
    used_by: list[str]


class FlowItem(msgspec.Struct, frozen=True):
    """A flow in a list."""

    path: str
    version: str
    steps: int
    used_by: list[str]


class FlowPage(msgspec.Struct, frozen=True):
    """A flow with its OpenFlow value."""

    version: str
    flow: Flow
    used_by: list[str]


class VariableItem(msgspec.Struct, frozen=True):
    """A variable. `value` of a secret one is `***`."""

    path: str
    value: str
    is_secret: bool
    description: str


class FileItem(msgspec.Struct, frozen=True):
    """A file of the workspace folder as it is deployed."""

    path: str
    version: str


class FileText(msgspec.Struct, frozen=True):
    """A deployed file. `is_masked`: parts of it are kept from those who may only read, and it cannot be edited so."""

    path: str
    version: str
    text: str
    is_masked: bool


@get("/scripts", opt=needs("read"))
async def scripts(work: Blocking) -> list[ScriptItem]:
    """All scripts, by path."""

    def read(store: Store) -> list[ScriptItem]:
        versions, users = read_now(store).of_kind("script"), _users(store)
        found = read_all(store, versions, Script)
        return [
            ScriptItem(path, versions[path], each.language, each.has_preprocessor, users.get(path, []))
            for path, each in found.items()
        ]

    return await work(read)


@get("/scripts/{path:path}", opt=needs("read"))
async def script(path: str, work: Blocking) -> ScriptPage:
    """A script with its source."""

    def read(store: Store) -> ScriptPage:
        version, found = _one(store, "script", path.strip("/"), Script)
        return ScriptPage(version, found, _users(store).get(found.path, []))

    return await work(read)


@get("/flows", opt=needs("read"))
async def flows(work: Blocking) -> list[FlowItem]:
    """All flows, by path."""

    def read(store: Store) -> list[FlowItem]:
        versions, users = read_now(store).of_kind("flow"), _users(store)
        found = read_all(store, versions, Flow)
        return [
            FlowItem(path, versions[path], len(each.value.get("modules") or []), users.get(path, []))
            for path, each in found.items()
        ]

    return await work(read)


@get("/flows/{path:path}", opt=needs("read"))
async def flow(path: str, work: Blocking) -> FlowPage:
    """A flow with its steps."""

    def read(store: Store) -> FlowPage:
        version, found = _one(store, "flow", path.strip("/"), Flow)
        return FlowPage(version, found, _users(store).get(found.path, []))

    return await work(read)


@get("/resources", opt=needs("read"))
async def resources(content: Workspace, caller: Caller) -> list[Resource]:
    """All resources and states, by path; plain passwords are masked for those who may not deploy."""
    return [_shown(each, caller) for each in await content.resources()]


@get("/resources/{path:path}", opt=needs("read"))
async def resource(path: str, content: Workspace, caller: Caller) -> Resource:
    """A resource, or a state, as it was written: references stay."""
    return _shown(await content.resource(path.strip("/")), caller)


@get("/variables", opt=needs("read"))
async def variables(content: Workspace) -> list[VariableItem]:
    """All variables, by path."""
    found = (await content.current()).variables
    return [_variable(found[path]) for path in sorted(found)]


@get("/variables/{path:path}", opt=needs("read"))
async def variable(path: str, content: Workspace) -> VariableItem:
    """A variable."""
    return _variable(await content.variable(path.strip("/")))


@get("/files", opt=needs("read"))
async def files(work: Blocking) -> list[FileItem]:
    """The files of the workspace folder that are deployed."""

    def read(store: Store) -> list[FileItem]:
        return [FileItem(path, version) for path, version in read_now(store).of_kind("file").items()]

    return await work(read)


@get("/files/{path:path}", opt=needs("read"))
async def file(path: str, work: Blocking, caller: Caller) -> FileText:
    """A file as it was pushed; the value of a secret variable is sealed in it."""
    hide = hides(caller)

    def read(store: Store) -> FileText:
        version, found = _one(store, "file", path.strip("/"), File)
        text = mask_file(found.path, found.text, hide=hide)
        return FileText(found.path, version, text, text != found.text)

    return await work(read)


def _one(store: Store, kind: Kind, path: str, record: Any) -> tuple[str, Any]:
    version = read_now(store).of_kind(kind).get(path)
    found = None if version is None else read_all(store, {path: version}, record).get(path)
    if version is None or found is None:
        raise not_found(f"no {kind} {path} is deployed")
    return version, found


def _users(store: Store) -> dict[str, list[str]]:
    """Runnable → triggers that run it."""
    users: dict[str, list[str]] = {}
    for path, trigger in read_triggers(store, []).items():
        for runnable in trigger.runnables:
            users.setdefault(runnable, []).append(path)
    return users


def _shown(found: Resource, caller: Caller) -> Resource:
    return msgspec.structs.replace(found, value=mask_value(found.value)) if hides(caller) else found


def _variable(found: Variable) -> VariableItem:
    return VariableItem(found.path, MASK if found.is_secret else found.value, found.is_secret, found.description)


routes = Router(
    "/",
    route_handlers=[scripts, script, flows, flow, resources, resource, variables, variable, files, file],
)
