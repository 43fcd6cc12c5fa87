"""All routes of our API, and their description."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any

import msgspec
from litestar import MediaType, Response, Router, get

from console.api import access, again, content, dead, deployments, events, runs, status, triggers, trying
from console.api.openapi import our_document
from console.needs import needs
from shared.config import Settings

_ROUTERS = [
    status.routes, triggers.routes, trying.routes, runs.routes, again.routes, dead.routes, content.routes,
    deployments.routes, events.routes, access.routes,
]  # fmt: skip


@cache
def document(workspace: str) -> bytes:
    """The description in OpenAPI 3.1, as JSON; made once."""
    return msgspec.json.encode(describe(workspace))


def describe(workspace: str) -> dict[str, Any]:
    """The same as an object."""
    return our_document(_ROUTERS, workspace)


@get("/openapi.json", opt=needs("nothing", any_host=True), include_in_schema=False)
async def openapi(settings: Settings) -> Response[bytes]:
    """This API in OpenAPI 3.1."""
    return Response(await asyncio.to_thread(document, settings.workspace), media_type=MediaType.JSON)


routes = Router("/headrace", route_handlers=[*_ROUTERS, openapi])
