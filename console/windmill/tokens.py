"""Tokens of people and tools, and logging in with one: there are no passwords here."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import msgspec
from litestar import Request, Response, Router, delete, get, post

from console.answers import as_text, created
from console.auditing import Note
from console.authentication import Authenticator
from console.blocking import Blocking
from console.callers import Caller, Person
from console.described import described
from console.errors import bad_request, forbidden, not_found
from console.needs import needs
from console.pages.login import count_try
from console.paging import Paging
from console.windmill.bodies import given
from console.windmill.identity import email_of
from console.workspace import Workspace
from shared import tokens
from shared.run_record import iso_ms
from shared.store import AsyncStore, Store
from shared.tokens import SCOPES, Scope, TokenRow, includes


class Login(msgspec.Struct, frozen=True):
    """Body of login: the password is a token."""

    email: str
    password: str


class NewToken(msgspec.Struct, frozen=True):
    """Body of create. `scopes` holds one of ours; without one the token may do what its maker may."""

    label: str | None = None
    expiration: str | None = None
    scopes: list[str] | None = None
    workspace_id: str | None = None
    read_only: bool = False


@post(
    "/auth/login", status_code=200,
    opt=needs("nothing", audited=False) | described(refusals={429: "Too many have failed from this address."}),
)  # fmt: skip
async def log_in(
    data: Login, request: Request[Caller, None, Any], store: AsyncStore, authenticator: Authenticator
) -> Response[str]:
    """Give back the token that stands in the place of a password, if it is good."""
    await count_try(request, store)
    text = data.password.strip()
    if await authenticator.token(text) is None:
        raise bad_request("Invalid login: the password has to be a token, which headrace token create makes")
    return as_text(text)


@post("/users/tokens/create", opt=needs("admin", runs=True))
async def create_token(data: NewToken, content: Workspace, caller: Caller, work: Blocking, note: Note) -> Response[str]:
    """A new token, whose text is told this once. A run's token makes no others."""
    if not isinstance(caller, Person):
        raise forbidden(f"the token of {caller.name} ends with it, and makes no others")
    if data.workspace_id not in {None, content.name}:
        raise bad_request(f"workspace_id: there is no workspace {data.workspace_id} here, only {content.name}")
    scope = _scope(data, caller)
    label = data.label or f"{caller.name}, by API"
    new = tokens.make_token(label, scope, caller.name, time.time_ns() // 1_000_000, _expiry(data.expiration))
    await work(tokens.create, new)
    note.tell("create token", new.token.id, after={"name": label, "scope": scope})
    return created(new.text)


@get("/users/tokens/list", opt=needs("admin"))
async def list_tokens(work: Blocking, paging: Paging) -> list[dict[str, Any]]:
    """All tokens, the oldest first, without their texts."""
    return [_row(each) for each in paging.of(await work(tokens.list_tokens))]


@delete("/users/tokens/delete/{prefix:str}", status_code=200, opt=needs("admin"))
async def delete_token(prefix: str, work: Blocking, note: Note) -> Response[str]:
    """Revoke a token by how its text begins, as the list tells."""
    token_id = await work(_revoke, prefix)
    if token_id is None:
        raise not_found(f"token {prefix}")
    note.tell("revoke token", token_id)
    return as_text(f"Deleted token {prefix}")


def _scope(data: NewToken, caller: Person) -> Scope:
    if data.read_only:
        return "read"
    wanted = data.scopes or [caller.scope]
    known = [scope for scope in SCOPES if scope in wanted]
    if len(known) != len(wanted):
        raise bad_request(f"scopes: write one of {', '.join(SCOPES)}, not {', '.join(wanted)}")
    if not includes(caller.scope, known[-1]):
        raise forbidden(f"{caller.name} has the scope {caller.scope}, and cannot give {known[-1]}")
    return known[-1]


def _expiry(text: str | None) -> int | None:
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise bad_request(f"expiration: {text!r} is no time: write 2026-01-02T03:04:05Z") from error
    return int((at if at.tzinfo else at.astimezone()).timestamp() * 1000)


def _revoke(store: Store, prefix: str) -> str | None:
    for token in tokens.list_tokens(store):
        if prefix in {token.id, _prefix(token)}:
            tokens.revoke(store, token.id)
            return token.id
    return None


def _prefix(token: TokenRow) -> str:
    """What may be told of a token's text."""
    return f"{tokens.PREFIX}{token.id}"


def _row(token: TokenRow) -> dict[str, Any]:
    return {
        "token_prefix": _prefix(token),
        "label": token.name,
        "created_at": iso_ms(token.created_at),
        "last_used_at": iso_ms(token.last_used_at or token.created_at),
        "read_only": token.scope == "read",
        "scopes": [token.scope],
        "email": email_of(token.created_by),
    } | given(expiration=None if token.expires_at is None else iso_ms(token.expires_at))


server_routes = Router("/", route_handlers=[log_in, create_token, list_tokens, delete_token])
