"""Who asks: a person or a tool by the name of its token, and one user for all runs."""

from __future__ import annotations

from typing import Any

from litestar import Response, Router, get, post

from console.answers import as_text
from console.callers import Caller, Person
from console.errors import bad_request, not_found
from console.needs import needs
from console.windmill.identity import EMAIL, USERNAME, email_of, username_of
from console.workspace import Workspace


@get("/users/whoami", opt=needs("read", runs=True))
async def global_whoami(caller: Caller) -> dict[str, Any]:
    """The user: whose token it is, or the one that every run is one of."""
    return {
        "email": _email(caller),
        "username": _username(caller),
        "login_type": "password",
        "super_admin": caller.may("admin"),
        "verified": True,
        "first_time_user": False,
        "role_source": "manual",
        "disabled": False,
    }


@get("/users/email", opt=needs("read", runs=True))
async def current_email(caller: Caller) -> Response[str]:
    """The address alone."""
    return as_text(_email(caller))


@get("/users/whoami", opt=needs("read", runs=True))
async def whoami(caller: Caller, content: Workspace) -> dict[str, Any]:
    """The same user in the workspace: who may deploy may change all that is in it."""
    folders = sorted({file.split("/")[1] for file in await content.texts() if file.startswith("f/")})
    may_write = folders if caller.may("deploy") else []
    return {
        "email": _email(caller),
        "username": _username(caller),
        "is_admin": caller.may("deploy"),
        "is_super_admin": caller.may("admin"),
        "created_at": "1970-01-01T00:00:00Z",
        "operator": isinstance(caller, Person) and not caller.may("deploy"),
        "disabled": False,
        "folders": may_write,
        "folders_read": folders,
        "folders_owners": may_write,
        "groups": ["all"],
    }


@get("/users/username_to_email/{username:str}", opt=needs("read", runs=True))
async def username_to_email(username: str, caller: Caller) -> Response[str]:
    """The address of the user of all runs, or of who asks."""
    if username not in {USERNAME, _username(caller)}:
        raise not_found(f"user {username}")
    return as_text(EMAIL if username == USERNAME else _email(caller))


@post("/oidc/token/{audience:str}", opt=needs("operate", runs=True, audited=False))
async def id_token(audience: str) -> Response[str]:
    """Nobody would trust tokens that we have signed."""
    raise bad_request(f"no token for {audience}: this Headrace is no OpenID provider")


def _email(caller: Caller) -> str:
    return email_of(caller.name) if isinstance(caller, Person) else EMAIL


def _username(caller: Caller) -> str:
    return username_of(caller.name) if isinstance(caller, Person) else USERNAME


server_routes = Router("/", route_handlers=[global_whoami, current_email])
routes = Router("/", route_handlers=[whoami, username_to_email, id_token])
