"""What is deployed: scripts, flows, resources, variables, files. Values of secret variables are never told."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Router, get

from console.api.filters import Text
from console.api.portions import After, Many, portion
from console.blocking import Blocking
from console.callers import Caller
from console.errors import not_found
from console.masking import hides, mask_file, told
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


class ScriptItems(msgspec.Struct, frozen=True):
    """Scripts by path; `next`: the cursor of the page after, None where there is none."""

    items: list[ScriptItem]
    next: str | None


class FlowItems(msgspec.Struct, frozen=True):
    """Flows, as scripts."""

    items: list[FlowItem]
    next: str | None


class ResourceItems(msgspec.Struct, frozen=True):
    """Resources, as scripts."""

    items: list[Resource]
    next: str | None


class VariableItems(msgspec.Struct, frozen=True):
    """Variables, as scripts."""

    items: list[VariableItem]
    next: str | None


class FileItem(msgspec.Struct, frozen=True):
    """A file of the workspace folder as it is deployed."""

    path: str
    version: str


class FileItems(msgspec.Struct, frozen=True):
    """Files, as scripts."""

    items: list[FileItem]
    next: str | None


class FileText(msgspec.Struct, frozen=True):
    """A deployed file. `is_masked`: parts of it are kept from those who may only read, and it cannot be edited so."""

    path: str
    version: str
    text: str
    is_masked: bool


@get("/scripts", opt=needs("read"))
async def scripts(work: Blocking, path_start: Text = "", limit: Many = 250, cursor: After = "") -> ScriptItems:
    """Scripts by path, page by page."""
    found, more = await work(_page_of, "script", Script, (limit, cursor, path_start))
    return ScriptItems(
        [ScriptItem(script.path, version, script.language, script.has_preprocessor, used_by)
         for version, script, used_by in found], more
    )  # fmt: skip


@get("/scripts/{path:path}", opt=needs("read"))
async def script(path: str, work: Blocking) -> ScriptPage:
    """A script with its source."""
    return ScriptPage(*await work(_used, "script", Script, path.strip("/")))


@get("/flows", opt=needs("read"))
async def flows(work: Blocking, path_start: Text = "", limit: Many = 250, cursor: After = "") -> FlowItems:
    """Flows by path, page by page."""
    found, more = await work(_page_of, "flow", Flow, (limit, cursor, path_start))
    return FlowItems(
        [FlowItem(flow.path, version, len(flow.value.modules), used_by) for version, flow, used_by in found], more
    )


@get("/flows/{path:path}", opt=needs("read"))
async def flow(path: str, work: Blocking) -> FlowPage:
    """A flow with its steps."""
    return FlowPage(*await work(_used, "flow", Flow, path.strip("/")))


@get("/resources", opt=needs("read"))
async def resources(
    content: Workspace, caller: Caller, path_start: Text = "", limit: Many = 250, cursor: After = ""
) -> ResourceItems:
    """Resources and states by path, page by page; plain passwords are masked for those who may not deploy."""
    found = {each.path: each for each in await content.resources()}
    paths, more = portion(found, limit, cursor, path_start)
    return ResourceItems([told(found[path], caller) for path in paths], more)


@get("/resources/{path:path}", opt=needs("read"))
async def resource(path: str, content: Workspace, caller: Caller) -> Resource:
    """A resource, or a state, as it was written: references stay."""
    return told(await content.resource(path.strip("/")), caller)


@get("/variables", opt=needs("read"))
async def variables(content: Workspace, path_start: Text = "", limit: Many = 250, cursor: After = "") -> VariableItems:
    """Variables by path, page by page; values of secret ones are masked."""
    found = (await content.current()).variables
    paths, more = portion(found, limit, cursor, path_start)
    return VariableItems([_variable(found[path]) for path in paths], more)


@get("/variables/{path:path}", opt=needs("read"))
async def variable(path: str, content: Workspace) -> VariableItem:
    """A variable."""
    return _variable(await content.variable(path.strip("/")))


@get("/files", opt=needs("read"))
async def files(work: Blocking, path_start: Text = "", limit: Many = 250, cursor: After = "") -> FileItems:
    """The files of the workspace folder that are deployed, by path, page by page."""
    versions = (await work(read_now)).of_kind("file")
    paths, more = portion(versions, limit, cursor, path_start)
    return FileItems([FileItem(path, versions[path]) for path in paths], more)


@get("/files/{path:path}", opt=needs("read"))
async def file(path: str, work: Blocking, caller: Caller) -> FileText:
    """A file as it was pushed; the value of a secret variable is sealed in it."""
    hide = hides(caller)

    def read(store: Store) -> FileText:
        version, found = _one(store, "file", path.strip("/"), File)
        text = mask_file(found.path, found.text, hide=hide)
        return FileText(found.path, version, text, text != found.text)

    return await work(read)


def _page_of(
    store: Store, kind: Kind, record: Any, wanted: tuple[int, str, str]
) -> tuple[list[tuple[str, Any, list[str]]], str | None]:
    """One page of scripts or flows, each with its version and the triggers that run it; and the cursor of the next."""
    versions, users = read_now(store).of_kind(kind), _users(store)
    paths, more = portion(versions, *wanted)
    found = read_all(store, {path: versions[path] for path in paths}, record)
    return [(versions[path], each, users.get(path, [])) for path, each in found.items()], more


def _used(store: Store, kind: Kind, record: Any, path: str) -> tuple[str, Any, list[str]]:
    """One, with its version and the triggers that run it. Raises Refusal (404)."""
    version, found = _one(store, kind, path, record)
    return version, found, _users(store).get(found.path, [])


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


def _variable(found: Variable) -> VariableItem:
    return VariableItem(found.path, MASK if found.is_secret else found.value, found.is_secret, found.description)


routes = Router(
    "/",
    route_handlers=[scripts, script, flows, flow, resources, resource, variables, variable, files, file],
)
