"""Who may come in, and who has done what: tokens and the audit log, for administrators."""

from __future__ import annotations

import time
from typing import Any, Final

import msgspec
from litestar import Router
from litestar.response import Redirect, Template

from console.auditing import Note
from console.blocking import Blocking
from console.pages.forms import Asked, action, answer, page, text
from console.pages.payloads import json_view
from console.view import View
from shared import keys, tokens
from shared.audit import AuditRow, read_audit
from shared.errors import UserError
from shared.run_record import iso_ms
from shared.store import Store
from shared.tokens import MEANINGS, SCOPES, NewToken, Scope, TokenRow
from shared.when import parse_span

LISTED: Final = 50
LIVES: Final = {"1d": "a day", "30d": "30 days", "90d": "90 days", "365d": "a year", "never": "for ever"}


class TokenLine(msgspec.Struct, frozen=True):
    """A token with its times as texts."""

    token: TokenRow
    created: str
    used: str | None
    expires: str | None
    is_over: bool


class Access(msgspec.Struct, frozen=True):
    """All that the page shows; `next`: what the page after begins with."""

    lines: list[TokenLine]
    entries: list[AuditRow]
    next: str
    dead: int


def read_access(store: Store, before: str) -> Access:
    """Ask Redis. Raises StoreUnavailable."""
    now_ms = time.time_ns() // 1_000_000
    entries = read_audit(store, LISTED, before)
    more = entries[-1].id if len(entries) == LISTED else ""
    lines = [_line(token, now_ms) for token in tokens.list_tokens(store)]
    return Access(lines, entries, more, store.command("ZCARD", keys.DEAD))


@page("/access", "admin")
async def access(request: Asked, view: View, work: Blocking) -> Template:
    """The page."""
    return await _access(view, work, request.query_params.get("before", ""))


@answer("/access/tokens", "admin", audited=True)
async def make_token(request: Asked, view: View, work: Blocking, note: Note) -> Template | Redirect:
    """Make a token, and show its text, this once."""
    form = await request.form()
    scope, life = text(form, "scope"), text(form, "life")
    now_ms = time.time_ns() // 1_000_000
    try:
        expires_at = None if life == "never" else now_ms + parse_span(life)
        new = tokens.make_token(text(form, "name"), _scope(scope), view.who, now_ms, expires_at)
        await work(tokens.create, new)
    except UserError as error:
        return view.redirect("/access", error.message, "bad", error.hint)
    note.tell("make token", new.token.id, after={"name": new.token.name, "scope": scope, "expires_at": expires_at})
    return await _access(view, work, "", new)


@action("/access/tokens/{token_id:str}/revoke", "admin")
async def revoke_token(token_id: str, view: View, work: Blocking, note: Note) -> Redirect:
    """End a token, and the browser sessions that began with it."""
    found = await work(tokens.find, token_id)
    await work(tokens.revoke, found.id)
    note.tell("revoke token", found.id, before={"name": found.name, "scope": found.scope})
    return view.redirect("/access", f"The token {found.name} is revoked; who was logged in with it is logged out.")


async def _access(view: View, work: Blocking, before: str, new: NewToken | None = None) -> Template:
    found = await work(read_access, before)
    shown: dict[str, Any] = {"scopes": SCOPES, "meanings": MEANINGS, "lives": LIVES, "json_view": json_view}
    return view.page(
        "access.html", section="access", found=found, new=new, is_first=not before, dead_count=found.dead, **shown
    )


def _scope(name: str) -> Scope:
    for scope in SCOPES:
        if scope == name:
            return scope
    raise UserError(f"{name!r} is no scope")


def _line(token: TokenRow, now_ms: int) -> TokenLine:
    used, expires = (None if at is None else iso_ms(at) for at in (token.last_used_at, token.expires_at))
    is_over = token.expires_at is not None and token.expires_at <= now_ms
    return TokenLine(token, iso_ms(token.created_at), used, expires, is_over)


routes = Router("/", route_handlers=[access, make_token, revoke_token])
