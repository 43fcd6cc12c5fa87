"""Windmill's own clients against a console of ours, with tokens of people."""

from __future__ import annotations

import time
from pathlib import Path
from textwrap import dedent
from typing import Any

from windmill_api import AuthenticatedClient

from shared import tokens
from shared.deploy import Options, push
from shared.secrets import SecretBox
from shared.store import Store
from shared.tokens import Scope
from shared.workspace import read_workspace
from tests.support.console import WORKSPACE, Console

__all__ = ["FLOW", "SCRIPT", "WORKSPACE", "api_client", "push_files", "token_of"]

TIMEOUT_S = 30.0
SCRIPT: dict[str, Any] = {
    "path": "f/t/on_temp",
    "summary": "temperature check",
    "description": "",
    "content": "def main(payload: bytes):\n    return len(payload)\n",
    "language": "python3",
    "kind": "script",
    "schema": {"type": "object", "properties": {"payload": {"type": "string"}}, "required": ["payload"]},
    "timeout": 60,
    "labels": ["iot"],
}
FLOW: dict[str, Any] = {
    "path": "f/t/hot",
    "summary": "hot path",
    "description": "",
    "value": {
        "modules": [
            {
                "id": "a",
                "summary": "Check it",
                "value": {
                    "type": "rawscript",
                    "language": "python3",
                    "content": "def main(t: float):\n    return t > 30\n",
                    "input_transforms": {"t": {"type": "javascript", "expr": "flow_input.t"}},
                },
            }
        ]
    },
    "schema": {"type": "object", "properties": {"t": {"type": "number"}}, "required": []},
}


def token_of(store: Store, scope: Scope, name: str = "") -> str:
    """A new token of a person."""
    new = tokens.make_token(name or f"{scope}@plant.example", scope, "tests", time.time_ns() // 1_000_000, None)
    tokens.create(store, new)
    return new.text


def api_client(console: Console, token: str) -> AuthenticatedClient:
    """Windmill's client of its whole API, as it comes from PyPI."""
    return AuthenticatedClient(base_url=f"{console.url}/api", token=token, timeout=TIMEOUT_S)  # type: ignore[arg-type]


def push_files(store: Store, console: Console, folder: Path, files: dict[str, str]) -> None:
    """Deploy a workspace folder with these files."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(dedent(text))
    options: Any = Options(60, box=SecretBox.load(console.settings, create=True), author="tests")
    push(store, read_workspace(folder), options, lambda _plan: True)
