"""Logging in, with a token or a link, and out."""

from __future__ import annotations

import time
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Router, get, post
from litestar.datastructures import Cookie
from litestar.enums import RequestEncodingType
from litestar.params import Body
from litestar.response import Redirect, Template
from litestar.status_codes import HTTP_303_SEE_OTHER, HTTP_401_UNAUTHORIZED

from console.auditing import Note
from console.authentication import Authenticator, cookie_name, is_secure
from console.callers import Caller, Nobody
from console.errors import too_many
from console.needs import needs
from console.view import View
from shared import browser_sessions, keys
from shared.audit import AuditEntry, audit_command
from shared.browser_sessions import BrowserSession
from shared.config import Settings
from shared.events import emit
from shared.store import AsyncStore

TRIES: Final = 10
TRIES_S: Final = 60
FORM_BYTES: Final = 16 * 1024


class LoginForm(msgspec.Struct, frozen=True):
    """What the page sends."""

    token: str = ""
    next: str = "/"


@get("/login", opt=needs("nothing"), include_in_schema=False)
async def login_page(
    request: Request[Caller, None, Any],
    view: View,
    store: AsyncStore,
    settings: Settings,
    link: str = "",
    next: str = "/",  # noqa: A002 - so it is called in addresses
) -> Template | Redirect:
    """Asks for a token. A link that `headrace login` made logs in at once."""
    if not link:
        return view.page("login.html", title="Log in", problem="", next=next)
    await count_try(request, store)
    found = browser_sessions.read_link(await store.command(*browser_sessions.use_link_command(link)))
    if found is None:
        problem = "The link was used before, or is too old: headrace login makes another."
        return view.page("login.html", HTTP_401_UNAUTHORIZED, title="Log in", problem=problem, next=next)
    entry = AuditEntry(found.name, "log in by link", after={"scope": found.scope}, address=_address(request))
    await store.command(*audit_command(entry, settings.retention.audit_max))
    now_ms = time.time_ns() // 1_000_000
    session = BrowserSession(found.name, found.scope, "", now_ms, now_ms + round(settings.console.session_s * 1000))
    return await _begin(request, view.redirect(next), store, settings, session)


@post(
    "/login", opt=needs("nothing"), include_in_schema=False, status_code=HTTP_303_SEE_OTHER,
    request_max_body_size=FORM_BYTES,
)  # fmt: skip
async def log_in(
    request: Request[Caller, None, Any],
    data: Annotated[LoginForm, Body(media_type=RequestEncodingType.URL_ENCODED)],
    view: View,
    store: AsyncStore,
    authenticator: Authenticator,
    settings: Settings,
    note: Note,
) -> Template | Redirect:
    """Begins a browser session with the token."""
    await count_try(request, store)
    token = await authenticator.token(data.token.strip())
    if token is None:
        emit("login.failed", address=_address(request))
        problem = "The token is not known, has expired or was revoked."
        return view.page("login.html", HTTP_401_UNAUTHORIZED, title="Log in", problem=problem, next=data.next)
    now_ms = time.time_ns() // 1_000_000
    end = now_ms + round(settings.console.session_s * 1000)
    end = end if token.expires_at is None else min(end, token.expires_at)
    session = BrowserSession(token.name, token.scope, token.id, now_ms, end)
    note.who = token.name
    note.tell("log in", after={"scope": token.scope})
    return await _begin(request, view.redirect(data.next), store, settings, session)


@post(
    "/logout", opt=needs("nothing"), include_in_schema=False, status_code=HTTP_303_SEE_OTHER,
    request_max_body_size=FORM_BYTES,
)  # fmt: skip
async def log_out(
    request: Request[Caller, None, Any],
    view: View,
    store: AsyncStore,
    settings: Settings,
    authenticator: Authenticator,
    note: Note,
) -> Redirect:
    """Ends the browser session."""
    if secret := request.cookies.get(authenticator.cookie):
        await store.command(*browser_sessions.end_command(secret))
    if not isinstance(view.caller, Nobody):
        note.tell("log out")
    answer = view.redirect("/login", "You are logged out.")
    answer.set_cookie(_cookie(settings, authenticator.cookie, "", 0))
    return answer


async def _begin(
    request: Request[Caller, None, Any],
    answer: Redirect,
    store: AsyncStore,
    settings: Settings,
    session: BrowserSession,
) -> Redirect:
    """A session of its own for each login, whatever cookie the browser had."""
    secret = browser_sessions.new_secret()
    await store.commands(
        [
            *browser_sessions.begin_commands(secret, session),
            ("DEL", keys.login_tries(_address(request))),
        ]
    )
    life_s = (session.expires_at - session.began_at) // 1000
    answer.set_cookie(_cookie(settings, cookie_name(settings), secret, life_s))
    return answer


async def count_try(request: Request[Caller, None, Any], store: AsyncStore) -> None:
    """Raises Refusal (429) for more than TRIES within TRIES_S from one address, of which none was good."""
    key = keys.login_tries(_address(request))
    tries, _, left_s = await store.commands([("INCR", key), ("EXPIRE", key, TRIES_S, "NX"), ("TTL", key)])
    if tries > TRIES:
        raise too_many(f"more than {TRIES} logins failed: try again in {left_s} s", max(1, left_s))


def _address(request: Request[Caller, None, Any]) -> str:
    return request.client.host if request.client else ""


def _cookie(settings: Settings, name: str, value: str, life_s: int) -> Cookie:
    secure = is_secure(settings)
    return Cookie(name, value=value, max_age=life_s, httponly=True, samesite="lax", secure=secure, path="/")


routes = Router("/", route_handlers=[login_page, log_in, log_out])
