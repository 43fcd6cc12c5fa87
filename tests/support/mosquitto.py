"""A Mosquitto of the test's own."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from shared.services.broker import find_mosquitto
from tests.support.eventually import eventually
from tests.support.ports import HOST, accepts, free_port
from tests.support.processes import Child

DEFAULTS = {
    "allow_anonymous": "true",
    "set_tcp_nodelay": "true",
    "persistence": "true",
    "autosave_interval": "1",
    "max_queued_messages": "1000000",
    "max_inflight_messages": "100",
    "log_dest": "stderr",
    "log_type": "all",
}


class MosquittoMissingError(RuntimeError):
    """Mosquitto is not installed. `make test` gets it from the system's packages where it may."""

    def __init__(self) -> None:
        super().__init__(
            "this test needs Mosquitto: install it (apt-get install mosquitto) or name it in HEADRACE_MOSQUITTO"
        )


def only_with_password(folder: Path, user: str, password: str) -> dict[str, str]:
    """Options of a broker that lets in this user alone. The file is as `mosquitto_passwd` writes it."""
    salt = b"twelve bytes"
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 101)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "passwords"
    file.write_text(f"{user}:$7$101${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}\n")
    return {"allow_anonymous": "false", "password_file": str(file)}


class Mosquitto(Child):
    """A Mosquitto that keeps port and data over its lives; `sigterm()` lets it save, `kill9()` does not.

    `options` replace DEFAULTS or add to them; they follow the `listener` line, so they may speak of it (cafile,
    protocol websockets). Raises MosquittoMissingError.
    """

    def __init__(self, folder: Path, options: Mapping[str, str] | None = None) -> None:
        program = find_mosquitto()
        if program is None:
            raise MosquittoMissingError
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"mqtt://{HOST}:{self.port}"
        settings = DEFAULTS | {"persistence_location": f"{folder}/"} | dict(options or {})
        if os.geteuid() == 0:
            settings["user"] = "root"
        lines = [f"listener {self.port} {HOST}", *(f"{name} {value}" for name, value in settings.items())]
        config = folder / "mosquitto.conf"
        config.write_text("\n".join(lines) + "\n")
        super().__init__([program, "-c", str(config)], folder / "mosquitto.log", cwd=folder)

    def start(self) -> Self:
        """Start it and wait until it accepts connections."""
        super().start()
        eventually(lambda: not self.running or accepts(self.port))
        if not self.running:
            raise AssertionError(f"Mosquitto did not start:\n{self.output}")
        return self


def mosquitto_version() -> str | None:
    """What it says of itself, None where there is none."""
    if (program := find_mosquitto()) is None:
        return None
    said = subprocess.run([program, "-h"], capture_output=True, text=True, check=False).stdout
    return f"{said.splitlines()[0] if said else 'mosquitto'} ({program})"
