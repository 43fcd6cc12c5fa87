"""All routes of Windmill's that there are: those of the server, and those in its one workspace; their description."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import msgspec
from litestar import MediaType, Response, Router, get
from litestar.di import Provide

from console.api.openapi import windmill_document
from console.needs import needs
from console.paging import provide_paging
from console.windmill import (
    approvals,
    audit_log,
    capture_routes,
    flows,
    folders,
    job_actions,
    job_ends,
    job_lists,
    job_updates,
    jobs,
    lock_requests,
    resource_types,
    resources,
    scripts,
    server,
    starting,
    tokens,
    trigger_family,
    triggers,
    users,
    variables,
    workspaces,
)
from shared.config import Settings

_OF_SERVER: Final[list[Router]] = [
    server.server_routes, users.server_routes, tokens.server_routes, workspaces.server_routes,
]  # fmt: skip
in_workspace: Final[list[Router]] = [
    variables.routes, resources.routes, resource_types.routes, triggers.routes, trigger_family.routes, jobs.routes,
    starting.routes, job_lists.routes, job_actions.routes, job_ends.routes, job_updates.routes, users.routes,
    scripts.routes, flows.routes, folders.routes, workspaces.routes, audit_log.routes, capture_routes.routes,
    lock_requests.routes, approvals.routes,
]  # fmt: skip
_GIVEN: Final = ("captures", "starter", "syncs")
_READ: Final[dict[str, Callable[..., Any]]] = {"paging": provide_paging, "wanted": job_updates.provide_wanted}
"""What handlers are given that stands in the address."""


@cache
def document(workspace: str) -> bytes:
    """The description in OpenAPI 3.1, as JSON; made once."""
    return msgspec.json.encode(describe(workspace))


def describe(workspace: str) -> dict[str, Any]:
    """The same as an object."""
    injected = {name: Provide(lambda: None, sync_to_thread=False) for name in _GIVEN}
    injected |= {name: Provide(provide, sync_to_thread=False) for name, provide in _READ.items()}
    return windmill_document(_OF_SERVER, in_workspace, workspace, injected)


@get(["/openapi.json", "/openapi.yaml"], opt=needs("nothing", any_host=True), include_in_schema=False)
async def openapi(settings: Settings) -> Response[bytes]:
    """These routes in OpenAPI 3.1; JSON is YAML, too."""
    return Response(await asyncio.to_thread(document, settings.workspace), media_type=MediaType.JSON)


of_server: Final[list[Router]] = [*_OF_SERVER, Router("/", route_handlers=[openapi])]
