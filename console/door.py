"""Who can come in when the process starts: nobody, until there is a token or a link is opened."""

from __future__ import annotations

import asyncio
import getpass
import socket
import time
from typing import Final

from shared import browser_sessions, keys, tokens
from shared.browser_sessions import FIRST_LINK_LIFE_S, Link
from shared.config import Settings
from shared.config_keys import is_loopback
from shared.errors import ConfigError, HeadraceError, StoreUnavailable
from shared.store import AsyncStore, Store

LOGIN_COMMAND: Final = "headrace login"
_PATIENCE_S: Final = 30.0
_LINK_PATIENCE_S: Final = 3.0
_LOOK_EVERY_S: Final = 0.2


def wait_for_tokens(settings: Settings) -> None:
    """Return when there is a good token. Raises ConfigError if there is none, StoreUnavailable if Redis stays away."""
    store = Store.connect(settings.redis_url)
    deadline = time.monotonic() + _PATIENCE_S
    try:
        while True:
            try:
                blobs = store.command("HVALS", keys.TOKENS)
                break
            except StoreUnavailable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_LOOK_EVERY_S)
    finally:
        store.close()
    if not tokens.are_there_any(blobs, time.time_ns() // 1_000_000):
        raise ConfigError(
            f"console.host is {settings.console.host!r}, which others can reach, and there are no tokens",
            hint="make one first: headrace token create NAME --scope admin; or set console.host to 127.0.0.1",
        )


async def first_link(store: AsyncStore, settings: Settings) -> str:
    """The address that logs a browser in, as long as there is no token and the console serves this machine alone; else,
    and if Redis does not answer soon, the command that makes one. Never raises for a Redis that is away.
    """
    if not is_loopback(settings.console.host):
        return LOGIN_COMMAND
    deadline = time.monotonic() + _LINK_PATIENCE_S
    while True:
        try:
            blobs = await store.command("HVALS", keys.TOKENS)
            if tokens.are_there_any(blobs, time.time_ns() // 1_000_000):
                return LOGIN_COMMAND
            secret = browser_sessions.new_secret()
            link = Link(f"{_user()}@{socket.gethostname()}", "admin")
            await store.command(*browser_sessions.link_command(secret, link, FIRST_LINK_LIFE_S))
            return browser_sessions.link_address(settings.console.url, secret)
        except StoreUnavailable:
            if time.monotonic() > deadline:
                return LOGIN_COMMAND
            await asyncio.sleep(_LOOK_EVERY_S)
        except HeadraceError:  # whoever may not write cannot have a link either
            return LOGIN_COMMAND


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        return "somebody"
