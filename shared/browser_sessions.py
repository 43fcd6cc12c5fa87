"""Browsers that are logged in to the console, and the links that log one in.

A session begins with a token, and ends with it at the latest; or with a link, which whoever can reach Redis may make.
Cookie and link hold 256 random bits, of which only a digest is kept.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Final, TypeVar

import msgspec

from shared import keys
from shared.errors import InternalError
from shared.scripts.call import Arg
from shared.store import Store
from shared.tokens import Scope

LINK_LIFE_S: Final = 600
FIRST_LINK_LIFE_S: Final = 24 * 3600
"""Of the link that a console shows when it starts and there are no tokens."""


_Record = TypeVar("_Record", bound=msgspec.Struct)


class BrowserSession(msgspec.Struct, frozen=True):
    """Who is logged in, until when (epoch ms). `token` is the id of the one that it began with, '' for a link."""

    name: str
    scope: Scope
    token: str
    began_at: int
    expires_at: int


class Link(msgspec.Struct, frozen=True):
    """What a link makes of who opens it."""

    name: str
    scope: Scope


def new_secret() -> str:
    """For a cookie or a link."""
    return secrets.token_urlsafe(32)


def begin_commands(secret: str, session: BrowserSession) -> list[tuple[Arg, ...]]:
    """Keep a session until it expires."""
    key = keys.browser_session(_digest(secret))
    return [("SET", key, msgspec.json.encode(session), "PXAT", session.expires_at)]


def session_command(secret: str) -> tuple[Arg, ...]:
    """The command that fetches a session; read its answer with `read_session`."""
    return ("GET", keys.browser_session(_digest(secret)))


def end_command(secret: str) -> tuple[Arg, ...]:
    """Ends a session."""
    return ("DEL", keys.browser_session(_digest(secret)))


def end_all(store: Store) -> int:
    """End all sessions; how many there were."""
    count, cursor = 0, "0"
    while True:
        cursor, names = store.command("SCAN", cursor, "MATCH", keys.browser_session("*"), "COUNT", 1000)
        count += store.command("DEL", *names) if names else 0
        if int(cursor) == 0:
            return count


def read_session(blob: bytes | None) -> BrowserSession | None:
    """The answer to `session_command`; None: it has ended."""
    return None if blob is None else _decode(blob, BrowserSession)


def link_command(secret: str, link: Link, life_s: int) -> tuple[Arg, ...]:
    """Keep a link, to be used once."""
    return ("SET", keys.login_link(_digest(secret)), msgspec.json.encode(link), "EX", life_s)


def use_link_command(secret: str) -> tuple[Arg, ...]:
    """Take a link; read its answer with `read_link`."""
    return ("GETDEL", keys.login_link(_digest(secret)))


def read_link(blob: bytes | None) -> Link | None:
    """The answer to `use_link_command`; None: there is no such link (any more)."""
    return None if blob is None else _decode(blob, Link)


def make_link(store: Store, url: str, link: Link, life_s: int = LINK_LIFE_S) -> str:
    """The address that logs a browser in, once, as long as the link lives. Raises StoreUnavailable."""
    secret = new_secret()
    store.command(*link_command(secret, link, life_s))
    return link_address(url, secret)


def link_address(url: str, secret: str) -> str:
    """Where a link leads."""
    return f"{url}/login?link={secret}"


def _decode(blob: bytes, kind: type[_Record]) -> _Record:
    try:
        return msgspec.json.decode(blob, type=kind)
    except msgspec.DecodeError as error:
        raise InternalError(f"the record of a login cannot be read: {error}") from error


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
