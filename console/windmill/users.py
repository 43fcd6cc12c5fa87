"""Who asks, and of what server."""

from __future__ import annotations

from typing import Any

from litestar import Response, Router, get, post

from console.answers import as_text
from console.callers import Caller
from console.errors import forbidden, not_found
from console.needs import needs
from console.windmill.identity import EMAIL, USERNAME, VERSION


@get("/version", opt=needs("nothing", any_host=True))
async def version() -> Response[str]:
    """The release of Windmill that these routes are those of."""
    return as_text(VERSION)


@get("/users/whoami", opt=needs("read", runs=True))
async def global_whoami() -> dict[str, Any]:
    """The user that every run is one of."""
    return {
        "email": EMAIL,
        "username": USERNAME,
        "login_type": "password",
        "super_admin": False,
        "verified": True,
        "first_time_user": False,
        "role_source": "manual",
        "disabled": False,
    }


@post("/users/tokens/create", opt=needs("admin", runs=True))
async def create_token(caller: Caller) -> Response[str]:
    """A run's token makes no others."""
    raise forbidden(f"the token of {caller.name} ends with it, and makes no others")


@get("/users/whoami", opt=needs("read", runs=True))
async def whoami() -> dict[str, Any]:
    """The same user in the workspace."""
    return {
        "email": EMAIL,
        "username": USERNAME,
        "is_admin": False,
        "is_super_admin": False,
        "created_at": "1970-01-01T00:00:00Z",
        "operator": False,
        "disabled": False,
        "folders": [],
        "folders_read": [],
        "folders_owners": [],
        "groups": ["all"],
    }


@get("/users/username_to_email/{username:str}", opt=needs("read", runs=True))
async def username_to_email(username: str) -> Response[str]:
    """The address of the only user."""
    if username != USERNAME:
        raise not_found(f"user {username}")
    return as_text(EMAIL)


server_routes = Router("/", route_handlers=[version, global_whoami, create_token])
routes = Router("/", route_handlers=[whoami, username_to_email])
