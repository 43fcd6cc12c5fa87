"""What a Lua verb is on this side: its source by name, and one call of it with typed reply."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

Reply = TypeVar("Reply")
Arg = str | bytes | int | float

_FOLDER = Path(__file__).parent
_LIBRARY = "_lib"
_READING = frozenset({"read_claims", "read_outbox", "scan_runs", "snapshot"})
_MAKING_ROOM = frozenset({"drop_dead", "expire_dead", "forget", "prune", "prune_trigger"})


class Script(msgspec.Struct, frozen=True):
    """A verb: name, source as Redis gets it, and its SHA-1."""

    name: str
    source: str
    sha: str


class Call(Generic[Reply]):
    """One use of a verb; `decode` turns Redis' answer into the reply. Making a call does nothing by itself."""

    __slots__ = ("args", "decode", "keys", "script")

    def __init__(self, name: str, keys: Sequence[str], args: Sequence[Arg], decode: Callable[[Any], Reply]) -> None:
        self.script = script(name)
        self.keys = keys
        self.args = args
        self.decode = decode


@cache
def script(name: str) -> Script:
    """The verb of that name; FileNotFoundError if there is none.

    With its first line Redis refuses the whole verb when it is full or may not write, instead of its first such
    command: nothing is done by half. A verb that makes room is carried out in a full Redis too.
    """
    flags = " flags=no-writes" if name in _READING else " flags=allow-oom" if name in _MAKING_ROOM else ""
    shebang = f"#!lua{flags}\n"
    source = shebang + _read(_LIBRARY) + _read(name)
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


def all_scripts() -> list[Script]:
    """Every verb there is, so that a new connection can load them all at once."""
    return [script(path.stem) for path in sorted(_FOLDER.glob("*.lua")) if path.stem != _LIBRARY]


def _read(name: str) -> str:
    return (_FOLDER / f"{name}.lua").read_text(encoding="utf-8")
