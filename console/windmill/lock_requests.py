"""Locks of scripts, which `wmill` asks for before it pushes: packages are resolved at once, and told as a job would be.

The id is that of no run. The answer is kept for as long as a client waits for it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from litestar import Response, Router, post

from console.answers import created
from console.blocking import Blocking
from console.edits import check_path
from console.needs import needs
from console.windmill.job_objects import ResultMaybe
from console.windmill.languages import extension_of
from console.workspace import Workspace
from shared import keys
from shared.config import Settings
from shared.dependencies.locking import Dependencies
from shared.deploy import read_current
from shared.errors import UserError
from shared.store import AsyncStore, Store
from shared.workspace import check_files
from shared.workspace.files import Files
from shared.workspace.layout import LOCK, METADATA
from shared.workspace.problems import Problems

KEPT_S: Final = 600
_ID = re.compile(r"lock-[0-9a-f]{32}")


class RawScript(msgspec.Struct, frozen=True):
    """Code whose packages are to be resolved."""

    raw_code: str
    language: str
    script_path: str


class LockRequest(msgspec.Struct, frozen=True):
    """Body of both; `wmill` asks for one script at a time."""

    raw_scripts: list[RawScript]
    entrypoint: str = ""


class FlowLockRequest(msgspec.Struct, frozen=True):
    """The same for a flow."""

    flow_value: dict[str, Any]
    path: str = ""


@post("/jobs/run/dependencies_async", opt=needs("deploy", audited=False))
async def ask_for_lock(
    data: LockRequest, content: Workspace, work: Blocking, store: AsyncStore, settings: Settings
) -> Response[str]:
    """Resolve the packages of a script; answers with an id, whose result is the lock."""
    result, is_good = await _resolve(data, content, work, settings)
    return created(await _keep(store, result, is_good=is_good))


@post("/jobs/run/flow_dependencies_async", opt=needs("deploy", audited=False))
async def ask_for_flow_lock(data: FlowLockRequest, store: AsyncStore) -> Response[str]:
    """Packages of a flow's steps are resolved when it is deployed: the flow comes back as it is."""
    return created(await _keep(store, {"updated_flow_value": data.flow_value}, is_good=True))


async def read_lock(store: AsyncStore, lock_id: str) -> ResultMaybe | None:
    """The answer under an id; None where there is none."""
    if not _ID.fullmatch(lock_id):
        return None
    blob = await store.command("GET", keys.lock_answer(lock_id))
    return None if blob is None else msgspec.json.decode(blob, type=ResultMaybe)


async def _keep(store: AsyncStore, result: dict[str, Any], *, is_good: bool) -> str:
    lock_id = f"lock-{secrets.token_hex(16)}"
    answer = msgspec.json.encode(ResultMaybe(completed=True, result=result, success=is_good, started=True))
    await store.command("SET", keys.lock_answer(lock_id), answer, "EX", KEPT_S)
    return lock_id


async def _resolve(
    data: LockRequest, content: Workspace, work: Blocking, settings: Settings
) -> tuple[dict[str, Any], bool]:
    try:
        locks = [await work(_lock, settings, each, await content.texts()) for each in data.raw_scripts]
    except UserError as error:
        return {"error": {"name": "ExecutionErr", "message": error.message}}, False
    return {"lock": "\n".join(filter(None, locks)), "status": "ok"}, True


def _lock(store: Store, settings: Settings, script: RawScript, texts: Mapping[str, str]) -> str:
    """One `name==version` a line. Raises UserError, WorkspaceError."""
    path = script.script_path
    file = check_path(path, "script", path + extension_of(script.language))
    others = {each: text for each, text in texts.items() if each not in {file, path + LOCK, path + METADATA}}
    wanted = dict(sorted((others | {file: script.raw_code}).items()))
    workspace = check_files(Files(wanted, []), "the script beside what is deployed", Problems(), may_be_empty=True)
    if path not in workspace.scripts:
        return ""  # a module: what imports it has its packages
    alone = msgspec.structs.replace(workspace, scripts={path: workspace.scripts[path]})
    deployed = read_current(store, create_id=False).scripts
    return Dependencies.of(settings, keeps=True).lock(alone, deployed).scripts[path].lock


routes = Router("/", route_handlers=[ask_for_lock, ask_for_flow_lock])
