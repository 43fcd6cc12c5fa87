"""A console for tests, and runs that are being executed by nobody: their tokens are good as long as the test wants."""

from __future__ import annotations

import os
import time
from pathlib import Path
from textwrap import dedent
from typing import Any

import httpx
import wmill

from shared import keys, run_tokens, tokens
from shared.clock import iso_utc
from shared.config_sources import load_settings
from shared.create_runs import make_run
from shared.definitions import Definition, Script, encode_definition, kind_of
from shared.scripts.operate import create_runs
from shared.scripts.worker import beat, claim, start
from shared.secrets import SecretBox
from shared.store import Store
from shared.tokens import Scope
from tests.support.ports import HOST, free_port
from tests.support.processes import HeadraceProcess

WORKSPACE = "headrace"
HOLDER = "0123abcd"
HELD_MS = 120_000


class Console:
    """A console process and what it takes to speak to it. `folder` holds its data, the secret key too."""

    def __init__(self, folder: Path, redis_url: str, **env: str) -> None:
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        data = folder / "data"
        self.env = {"REDIS_URL": redis_url, "HEADRACE_DATA": str(data), "HEADRACE_CONSOLE__PORT": str(self.port)} | env
        self.process = HeadraceProcess("console", folder=folder, env=self.env)
        self.settings = load_settings(self.env, folder)

    def mint(self, run_id: str, execution: str) -> str:
        """A token as the worker makes it."""
        box = SecretBox.load(self.settings, create=True, env=os.environ | self.env)
        return run_tokens.mint(box.derive(run_tokens.PURPOSE), run_id, execution)

    def client(self, token: str) -> wmill.Windmill:
        """Windmill's own client."""
        return wmill.Windmill(self.url, token, WORKSPACE)

    def token(self, scope: Scope, name: str = "") -> str:
        """An API token."""
        new = tokens.make_token(name or f"a {scope}er", scope, "the test", time.time_ns() // 1_000_000, None)
        store = Store.connect(self.settings.redis_url)
        tokens.create(store, new)
        store.close()
        return new.text

    def api(self, scope: Scope = "admin", name: str = "") -> httpx.Client:
        """A client for our own API, with a token of its own."""
        headers = {"Authorization": f"Bearer {self.token(scope, name)}"}
        return httpx.Client(base_url=f"{self.url}/api/w/{WORKSPACE}/headrace", headers=headers, timeout=30)

    def browser(self) -> httpx.Client:
        """What a browser is: it keeps cookies, and is not logged in."""
        return httpx.Client(base_url=self.url, timeout=20)

    @property
    def link(self) -> str:
        """The address on the ready line that logs a browser in."""
        return self.process.output.rpartition("login=")[2].split()[0]

    def request(self, method: str, path: str, token: str = "", **more: Any) -> httpx.Response:
        """A request to an address below /api."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.request(method, f"{self.url}/api{path}", headers=headers, timeout=20, **more)


def deploy(store: Store, *items: Definition) -> None:
    """Make these definitions current, beside what is deployed."""
    for item in items:
        version, blob = encode_definition(item)
        store.command("HSET", keys.DEFINITIONS, version, blob)
        store.command("HSET", keys.DEPLOYED, f"{kind_of(item)}:{item.path}", version)
    store.command("HINCRBY", keys.DEPLOYMENT, "number", 1)


def script(path: str, source: str, **fields: Any) -> Script:
    """A Python script."""
    return Script(path, "python3", f"{path}.py", {f"{path}.py": dedent(source)}, **fields)


def executing(store: Store, path: str = "f/t/parent") -> tuple[str, str]:
    """A run that is being executed as far as Redis knows: its id and execution id."""
    now_ns = time.time_ns()
    run = make_run(path, "0" * 16, 60, b"{}", "api")
    store.run(create_runs([run], iso_utc(now_ns), now_ns // 1000))
    store.run(beat(HOLDER, HELD_MS))
    (held,) = store.run(claim(HOLDER, f"{HOLDER}-{now_ns}", 1, 1_000_000)).claims
    assert held.run_id == run.id
    assert store.run(start(HOLDER, iso_utc(now_ns), [held])) == [True]
    return run.id, held.execution
