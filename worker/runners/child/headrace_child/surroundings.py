"""The environment variables that change from run to run, and the `wmill` client that has read them once."""

from __future__ import annotations

import ctypes
import os
import sys

_TOKEN = "WM_TOKEN"  # noqa: S105 - a name
_putenv = ctypes.CDLL(None).putenv


class Surroundings:
    """Sets what has changed since the run before, and nothing else: each costs a microsecond."""

    def __init__(self) -> None:
        self._current: dict[str, str] = {}
        self._variables: dict[str, _Variable] = {}

    def enter(self, wanted: dict[str, str]) -> None:
        """Make these variables what code, and the programs that it starts, find in the environment."""
        before, self._current = self._current, wanted
        for name in before:
            if name not in wanted:
                os.environ.pop(name, None)
        for name, value in wanted.items():
            if before.get(name) != value:
                self._variables.setdefault(name, _Variable(name)).set(value)
        if "wmill.client" in sys.modules:
            _renew_client(before.get(_TOKEN, ""), wanted.get(_TOKEN, ""))


class _Variable:
    """A variable that is written over in place: what `os.environ[name] = …` stores, the C library never gives back."""

    def __init__(self, name: str) -> None:
        self._name = os.fsencode(name)
        self._memory = ctypes.create_string_buffer(256)

    def set(self, value: str) -> None:
        """What this process sees, and the programs that it starts."""
        encoded = os.fsencode(value)
        text = self._name + b"=" + encoded
        before = self._memory  # stays until the environment no longer points to it
        if len(text) >= len(before):
            self._memory = ctypes.create_string_buffer(2 * len(text))
        self._memory.value = text
        _putenv(self._memory)
        os.environ._data[self._name] = encoded  # type: ignore[attr-defined]  # noqa: SLF001 - without another putenv()


def _renew_client(before: str, token: str) -> None:
    """`wmill` keeps one client, with the token of the run that made it: give it the token of this one.

    In place, because making a client takes longer than most runs. A client that the script made with a token of its
    own is left alone.
    """
    module = sys.modules["wmill.client"]
    client = getattr(module, "_client", None)
    if client is None or getattr(client, "token", None) != before:
        return
    try:
        client.token = token
        client.headers["Authorization"] = client.client.headers["Authorization"] = f"Bearer {token}"
    except (AttributeError, TypeError):  # another release of it: it makes a new one
        module._client = None  # type: ignore[attr-defined]  # noqa: SLF001
