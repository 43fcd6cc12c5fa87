"""The one workspace that there is: its name, its archive, what its clients ask of it before they do anything."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec
from litestar import Response, Router, get, post
from litestar.di import Provide

from console.callers import Caller
from console.described import described
from console.errors import bad_request, forbidden
from console.needs import needs
from console.windmill.exporting import Wanted, make_zip
from console.windmill.identity import email_of, username_of
from console.workspace import Workspace

_SEEN: Final = ("runs", "triggers", "resources", "variables", "folders", "workers")
_UNSEEN: Final = ("schedules", "assets", "audit_logs", "groups")


class WorkspaceId(msgspec.Struct, frozen=True):
    """Body of exists and create."""

    id: str
    name: str = ""


@get("/list", opt=needs("read"))
async def list_workspaces(content: Workspace) -> list[dict[str, Any]]:
    """The only one."""
    return [{"id": content.name, "name": content.name, "owner": "headrace"}]


@get("/users", opt=needs("read"))
async def user_workspaces(content: Workspace, caller: Caller) -> dict[str, Any]:
    """The workspaces of who asks, and what he may do there."""
    may_deploy = caller.may("deploy")
    one = {
        "id": content.name,
        "name": content.name,
        "username": username_of(caller.name),
        "color": "",
        "disabled": False,
        "is_dev_workspace": False,
        "role": "admin" if caller.may("admin") else "developer" if may_deploy else "operator",
        "capabilities": {
            "code": may_deploy,
            "flows": "full" if may_deploy else "none",
            "apps": "none",
            "manage_schedules": False,
            "manage_triggers": may_deploy,
            "visibility": dict.fromkeys(_SEEN, True) | dict.fromkeys(_UNSEEN, False),
        },
    }
    return {"email": email_of(caller.name), "workspaces": [one]}


@post("/exists", status_code=200, opt=needs("read", audited=False))
async def exists_workspace(data: WorkspaceId, content: Workspace) -> bool:
    """Whether it is the only one."""
    return data.id == content.name


@post("/create", opt=needs("admin", audited=False))
async def create_workspace(data: WorkspaceId, content: Workspace) -> Response[str]:
    """Another workspace is another Headrace."""
    raise forbidden(
        f"workspace {data.id} cannot be created: this Headrace has the workspace {content.name} (the setting workspace)"
    )


def provide_wanted(
    skip_variables: bool = False,  # noqa: FBT001, FBT002 - as in the address
    skip_secrets: bool = False,  # noqa: FBT001, FBT002
    skip_resources: bool = False,  # noqa: FBT001, FBT002
    skip_resource_types: bool = False,  # noqa: FBT001, FBT002
    include_triggers: bool = False,  # noqa: FBT001, FBT002
) -> Wanted:
    """Which kinds the archive is to hold."""
    return Wanted(
        variables=not skip_variables,
        secrets=not skip_secrets,
        resources=not skip_resources,
        resource_types=not skip_resource_types,
        triggers=include_triggers,
    )


@get(
    "/workspaces/tarball", opt=needs("deploy") | described(media_type="application/zip"),
    dependencies={"wanted": Provide(provide_wanted, sync_to_thread=False)},
)  # fmt: skip
async def archive(content: Workspace, wanted: Wanted, archive_type: str = "zip") -> Response[bytes]:
    """All files of the workspace, as `wmill sync` wants them.

    For those who may deploy: others are told no plain passwords, and what they pull would not be what is deployed.
    """
    if archive_type != "zip":
        raise bad_request(f"Invalid Archive Type: {archive_type}, write zip")
    made = await asyncio.to_thread(make_zip, await content.texts(), wanted)
    return Response(made, media_type="application/zip")


@get("/workspaces/get_settings", opt=needs("read"))
async def settings(content: Workspace) -> dict[str, Any]:
    """Nothing is set."""
    return {"workspace_id": content.name}


@get("/workspaces/get_workspace_name", opt=needs("read"))
async def name(content: Workspace) -> Response[str]:
    """As a text."""
    return Response(content.name, media_type="text/plain")


server_routes = Router(
    "/workspaces", route_handlers=[list_workspaces, user_workspaces, exists_workspace, create_workspace]
)
routes = Router("/", route_handlers=[archive, settings, name])
