"""Where an embedded server lives: a port of this machine, and a folder that is its own."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from shared.errors import ConfigError, UserError

HOST = "127.0.0.1"
_CONNECT_TIMEOUT_S = 1.0
_RELEASE_TIMEOUT_S = 2.0
_POLL_S = 0.02


def local_port(url: str, what: str, *, scheme: str, default: int) -> int:
    """The port of an address like `scheme://127.0.0.1:port`; `what` names the setting in errors.

    Raises ConfigError where the address asks for what an embedded server does not offer: another host, TLS, a password.
    """
    hint = (
        f"it serves {scheme}://{HOST}:<port>, without password or TLS; where another server is used, leave this"
        " process out: honcho start ingest dispatch worker"
    )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or default
    except ValueError as error:
        raise ConfigError(f"{what} has no usable port: {error}", hint=hint) from error
    if parts.scheme != scheme or host not in {HOST, "localhost"} or parts.password:
        raise ConfigError(f"the embedded server cannot serve {what} {parts.scheme}://{host or ''}:{port}", hint=hint)
    return port


def accepts(port: int) -> bool:
    """Whether something on this machine accepts connections on the port."""
    try:
        socket.create_connection((HOST, port), timeout=_CONNECT_TIMEOUT_S).close()
    except OSError:
        return False
    return True


def becomes_free(port: int) -> bool:
    """Whether the port is free, or becomes so soon: a server that was just killed takes a moment to let go."""
    deadline = time.monotonic() + _RELEASE_TIMEOUT_S
    while taken := accepts(port):
        if time.monotonic() > deadline:
            break
        time.sleep(_POLL_S)
    return not taken


@contextmanager
def sole_user(folder: Path) -> Iterator[None]:
    """Make the folder and hold it: of all processes of this machine one at a time gets in, until it ends.

    Raises UserError, naming the process that holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise UserError(
                f"{folder} is in use by process {lock.read().strip()}",
                hint="it is running already; a second one needs its own HEADRACE_DATA and its own port",
            ) from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield
