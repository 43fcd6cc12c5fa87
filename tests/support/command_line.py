"""The command `headrace` in the test's own process."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest

from shared.cli import main


class Said(NamedTuple):
    """What a command came to."""

    status: int
    out: str
    err: str


class CommandLine:
    """Runs commands against one Redis."""

    def __init__(self, redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setenv("REDIS_URL", redis_url)
        self._capsys = capsys

    def __call__(self, *arguments: object) -> Said:
        """Run it, whatever comes of it."""
        status = main([str(argument) for argument in arguments])
        said = self._capsys.readouterr()
        return Said(status, said.out, said.err)

    def text(self, *arguments: object) -> str:
        """What it prints; it has to succeed."""
        said = self(*arguments)
        assert said.status == 0, said.err
        return said.out

    def json(self, *arguments: object) -> Any:
        """The one document that it prints with --json."""
        return json.loads(self.text(*arguments, "--json"))

    def lines(self, *arguments: object) -> list[dict[str, Any]]:
        """The objects that it prints with --json, one a line."""
        return [json.loads(line) for line in self.text(*arguments, "--json").splitlines()]
