"""Lets a caller through to a route, or refuses: by what it needs, the name it is asked by, and the page that asks.

One guard for all routes. A write that a browser's cookie vouches for has to bring the session's CSRF token, as header
`X-CSRF-Token` or as field `_csrf` of a form.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Any, Final

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from console.authentication import BY_HEADER
from console.callers import Caller, Nobody, Person, RunCaller
from console.errors import READING_METHODS, forbidden, misdirected, unauthorized
from console.hosts import is_our_host, is_our_page
from console.needs import Needs, needs_of
from shared.config import ConsoleSettings
from shared.errors import InternalError

CSRF_HEADER: Final = "X-CSRF-Token"
CSRF_FIELD: Final = "_csrf"
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")

Guard = Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], Awaitable[None]]


def make_guard(settings: ConsoleSettings) -> Guard:
    """The guard of the application."""

    async def let_through(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        method = connection.scope.get("method", "GET")
        if method == "OPTIONS":
            return
        wanted = needs_of(handler.opt)
        if wanted is None:
            raise InternalError(f"the route {handler} does not say what it needs")
        header = connection.headers.get
        by_token = connection.scope.get("auth") == BY_HEADER
        host = header("host", "")
        if not (wanted.any_host or by_token or is_our_host(host, settings)):
            raise misdirected(f"{host!r} is not a name of this console: it is served as {settings.url} (console.url)")
        check(wanted, connection.scope.get("user") or Nobody())
        if method not in READING_METHODS and not by_token:
            if not is_our_page(header("origin", ""), header("sec-fetch-site", ""), host, settings):
                raise forbidden("the request comes from a page that is not the console's")
            await _check_csrf(connection)

    return let_through


def check(wanted: Needs, caller: Caller) -> None:
    """Raises Refusal: 401 for nobody, 403 for somebody who may not."""
    match caller:
        case RunCaller() if not wanted.runs and wanted.scope is not None:
            raise forbidden(f"the token of {caller.name} does not allow this")
        case Person() if not wanted.people:
            raise forbidden("only a run can do this, with its own token")
        case Person() if wanted.scope is not None and not caller.may(wanted.scope):
            raise forbidden(f"this needs the scope {wanted.scope}, and {caller.name} has {caller.scope}")
        case Nobody() if wanted.scope is not None:
            raise unauthorized("a token is needed, as Authorization: Bearer …; headrace token create makes one")


async def _check_csrf(connection: ASGIConnection[Any, Any, Any, Any]) -> None:
    caller = connection.scope.get("user")
    if not isinstance(caller, Person):
        return
    given = connection.headers.get(CSRF_HEADER, "")
    if not given and isinstance(connection, Request) and connection.content_type[0] in _FORMS:
        given = str((await connection.form()).get(CSRF_FIELD, ""))
    if not hmac.compare_digest(given.encode(), caller.csrf.encode()):
        raise forbidden("the CSRF token is missing or not that of this session: load the page again")
