"""What the commands that only need Redis share: settings, a connection, output."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from shared.config import Settings
from shared.config_keys import public_url
from shared.config_sources import load_settings
from shared.errors import StoreUnavailable
from shared.store import Store

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 0.5


def settings() -> Settings:
    """For a command of this process. Raises ConfigError."""
    return load_settings(os.environ, Path.cwd())


@contextmanager
def connected(url: str) -> Iterator[Store]:
    """A store that is closed at the end."""
    store = Store.connect(url)
    try:
        yield store
    finally:
        store.close()


def wait_for_redis(store: Store, url: str, wait_s: float, say: Callable[[str], None]) -> None:
    """Return as soon as Redis answers; StoreUnavailable when it has not within `wait_s`."""
    deadline = time.monotonic() + wait_s
    pause = _FIRST_PAUSE_S
    while True:
        try:
            store.command("PING")
        except StoreUnavailable as error:
            if time.monotonic() + pause > deadline:
                raise
            if pause == _FIRST_PAUSE_S:
                say(f"waiting for Redis at {public_url(url)}: {error.message}")
        else:
            return
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_S)


def author(what: str) -> str:
    """For the list of deployments: `<what> by <user>@<host>`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        user = "somebody"
    return f"{what} by {user}@{socket.gethostname()}"


def as_json(value: Any) -> str:
    """One line of JSON."""
    return msgspec.json.encode(value).decode()


def screen_width() -> int | None:
    """Columns of the terminal; None where the output goes elsewhere and is not to be shortened."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
