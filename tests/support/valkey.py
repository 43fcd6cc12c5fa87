"""A Redis of the test's own: the server that `headrace redis` serves too."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Self

import redis

from shared.services.redis_server import find_valkey
from tests.support.eventually import eventually
from tests.support.ports import HOST, free_port
from tests.support.processes import Child

# appendfsync always is what Headrace's promise asks of Redis.
DEFAULTS = {
    "appendonly": "yes",
    "appendfsync": "always",
    "save": '""',
    "maxmemory-policy": "noeviction",
    "hash-max-listpack-value": "512",
    "enable-debug-command": "yes",
}


class ValkeyServer(Child):
    """A Valkey that keeps port and data over `kill9()` and `start()`. `options` replace DEFAULTS or add to them."""

    def __init__(self, folder: Path, options: Mapping[str, str] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"redis://{HOST}:{self.port}/0"
        settings = {"bind": HOST, "port": str(self.port), "dir": str(folder)} | DEFAULTS | dict(options or {})
        config = folder / "valkey.conf"
        config.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        super().__init__([find_valkey(), str(config)], folder / "valkey.log", cwd=folder)

    def start(self) -> Self:
        """Start it and wait until it has read its data and answers."""
        super().start()
        with self.client() as client:
            eventually(lambda: not self.running or client.ping())
        if not self.running:
            raise AssertionError(f"Valkey did not start:\n{self.output}")
        return self

    def client(self) -> redis.Redis:
        """A client of redis-py; the caller closes it."""
        return redis.Redis.from_url(self.url)
