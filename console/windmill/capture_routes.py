"""The routes of captures."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Response, Router, delete, get, post

from console.answers import as_json
from console.errors import bad_request, not_found
from console.needs import needs
from console.paging import Paging
from console.windmill.bodies import given
from console.windmill.captures import KIND, Capture, Captures, RunnableKind, shown
from shared.run_record import iso_ms


class NewConfig(msgspec.Struct, frozen=True):
    """Body of set_config: what is to be captured for a script or flow."""

    trigger_kind: str
    path: str
    is_flow: bool
    trigger_config: dict[str, Any] = {}


class Move(msgspec.Struct, frozen=True):
    """Body of move."""

    new_path: str


@post("/set_config", status_code=200, opt=needs("deploy", audited=False))
async def set_config(data: NewConfig, captures: Captures) -> dict[str, Any]:
    """Keep what is to be captured; answers with it."""
    _check(data.trigger_kind)
    await captures.set_config("flow" if data.is_flow else "script", data.path, data.trigger_config)
    return data.trigger_config


@post("/ping_config/{kind:str}/{runnable_kind:str}/{path:path}", status_code=200, opt=needs("deploy", audited=False))
async def ping_config(kind: str, runnable_kind: str, path: str, captures: Captures) -> Response[bytes]:
    """Capture for some more seconds."""
    _check(kind)
    await captures.ping(_runnable(runnable_kind), path.strip("/"))
    return as_json(None)


@get("/get_configs/{runnable_kind:str}/{path:path}", opt=needs("read"))
async def get_configs(runnable_kind: str, path: str, captures: Captures) -> list[dict[str, Any]]:
    """What is to be captured, and why it has stopped."""
    found = _runnable(runnable_kind), path.strip("/")
    config, pinged = await captures.config(*found), await captures.last_ping(*found)
    if config is None:
        return []
    row = {"trigger_kind": KIND, "trigger_config": config.trigger_config, "error": config.error}
    return [row | given(last_server_ping=None if pinged is None else iso_ms(pinged))]


@get("/list/{runnable_kind:str}/{path:path}", opt=needs("read"))
async def list_captures(
    runnable_kind: str, path: str, captures: Captures, paging: Paging, trigger_kind: str | None = None
) -> list[dict[str, Any]]:
    """What came, newest first; large values are left out."""
    if trigger_kind not in {None, KIND}:
        return []
    found = await captures.list(_runnable(runnable_kind), path.strip("/"))
    rows = [_row(each) for each in paging.of(found)]
    return [{key: shown(value) if key.endswith("_args") else value for key, value in row.items()} for row in rows]


@get("/{capture_id:int}", opt=needs("read"))
async def get_capture(capture_id: int, captures: Captures) -> dict[str, Any]:
    """One, in full."""
    return _row(await _known(capture_id, captures))


@delete("/{capture_id:int}", status_code=200, opt=needs("operate", audited=False))
async def delete_capture(capture_id: int, captures: Captures) -> Response[bytes]:
    """Forget one."""
    await captures.delete(await _known(capture_id, captures))
    return as_json(None)


@post("/move/{runnable_kind:str}/{path:path}", status_code=200, opt=needs("deploy", audited=False))
async def move_captures(runnable_kind: str, path: str, data: Move, captures: Captures) -> Response[bytes]:
    """Have them under another path."""
    await captures.move(_runnable(runnable_kind), path.strip("/"), data.new_path)
    return as_json(None)


def _check(kind: str) -> None:
    if kind != KIND:
        raise bad_request(f"messages of kind {kind} are not captured here, only {KIND}")


def _runnable(kind: str) -> RunnableKind:
    if kind == "script":
        return "script"
    if kind == "flow":
        return "flow"
    raise bad_request(f"{kind!r} is neither script nor flow")


async def _known(capture_id: int, captures: Captures) -> Capture:
    """Raises Refusal (404)."""
    found = await captures.get(capture_id)
    if found is None:
        raise not_found(f"Capture not found with id: {capture_id}")
    return found


def _row(capture: Capture) -> dict[str, Any]:
    return {
        "id": capture.id,
        "created_at": capture.created_at,
        "trigger_kind": KIND,
        "main_args": capture.main_args,
        "preprocessor_args": capture.preprocessor_args,
    }


routes = Router(
    "/capture",
    route_handlers=[
        set_config, ping_config, get_configs, list_captures, get_capture, delete_capture, move_captures,
    ],
)  # fmt: skip
