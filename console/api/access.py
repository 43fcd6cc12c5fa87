"""Who may come in, and who has done what."""

from __future__ import annotations

import time
from typing import Annotated, Any

import msgspec
from litestar import Router, delete, get, post
from litestar.params import Parameter

from console.api.filters import LIMIT_MAX
from console.auditing import Note
from console.blocking import Blocking
from console.callers import Caller, Person
from console.errors import unprocessable
from console.needs import needs
from shared import tokens
from shared.audit import AuditRow, read_audit
from shared.errors import UserError
from shared.store import Store
from shared.tokens import Scope, TokenRow


class Me(msgspec.Struct, frozen=True):
    """Who asks, and what he may do."""

    name: str
    scope: Scope
    scopes: list[Scope]


class NewToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`expires_in_s` None: it never expires."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    scope: Scope = "read"
    expires_in_s: Annotated[int, msgspec.Meta(ge=60, le=10 * 366 * 86400)] | None = 365 * 86400


class MadeToken(msgspec.Struct, frozen=True):
    """The text of a new token is told this once."""

    id: str
    token: str
    scope: Scope
    expires_at: int | None


class AuditPage(msgspec.Struct, frozen=True):
    """Entries, newest first; `next`: what to give as `before` for those after, None where there are none."""

    entries: list[AuditRow]
    next: str | None


@get("/whoami", opt=needs("read"))
async def whoami(caller: Caller) -> Me:
    """Who asks."""
    scope: Scope = caller.scope if isinstance(caller, Person) else "read"
    return Me(caller.name, scope, [each for each in tokens.SCOPES if caller.may(each)])


@get("/tokens", opt=needs("admin"))
async def list_tokens(work: Blocking) -> list[TokenRow]:
    """All tokens, without their text, which nobody knows but who has them."""
    return await work(tokens.list_tokens)


@post("/tokens", opt=needs("admin"), status_code=201)
async def create_token(data: NewToken, work: Blocking, caller: Caller, note: Note) -> MadeToken:
    """Make a token."""
    now_ms = time.time_ns() // 1_000_000
    expires_at = None if data.expires_in_s is None else now_ms + data.expires_in_s * 1000
    try:
        new = tokens.make_token(data.name, data.scope, caller.name, now_ms, expires_at)
        await work(tokens.create, new)
    except UserError as error:
        raise unprocessable(error.message, error.hint) from error
    note.tell("make token", new.token.id, after={"name": data.name, "scope": data.scope, "expires_at": expires_at})
    return MadeToken(new.token.id, new.text, data.scope, expires_at)


@delete("/tokens/{token_id:str}", opt=needs("admin"), status_code=204)
async def revoke_token(token_id: str, work: Blocking, note: Note) -> None:
    """End a token at once, and the browser sessions that began with it."""

    def revoke(store: Store) -> Any:
        found = tokens.find(store, token_id)
        tokens.revoke(store, found.id)
        return found

    found = await work(revoke)
    note.tell("revoke token", found.id, before={"name": found.name, "scope": found.scope})


@get("/audit", opt=needs("admin"))
async def audit(
    work: Blocking,
    limit: Annotated[int, Parameter(ge=1, le=LIMIT_MAX)] = 50,
    before: Annotated[str, Parameter(pattern=r"^(\d{1,15}-\d{1,15})?$", description="`next` of the page before.")] = "",
) -> AuditPage:
    """Who changed what, newest first."""
    entries = await work(read_audit, limit, before)
    return AuditPage(entries, entries[-1].id if len(entries) == limit else None)


routes = Router("/", route_handlers=[whoami, list_tokens, create_token, revoke_token, audit])
