"""The page of the Lua verbs, from the headers of their files."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import msgspec

from shared import scripts
from shared.docs.page import page, table
from shared.errors import InternalError

_FOLDER = Path(scripts.__file__).parent
_LIBRARY = "_lib"
_USERS = {
    "ingest": "Ingest",
    "dispatch": "Dispatch",
    "worker": "Worker",
    "operate": "Commands and console",
    "history": "History and dead letters",
    "suspended": "Suspended triggers",
    "alerts": "Alerts",
    "outgoing": "Outboxes",
    "flows": "Flows",
}
"""Modules that hold the stubs, and who uses them."""

_STUB = re.compile(r"\bCall\(\s*\"(\w+)\"")
_LABELS = ("KEYS", "ARGV", "->", "invariant:")
_ITEM = re.compile(r"\d+ |then ")
"""How a line starts that goes on with another argument, and not in the middle of one."""
_COST = re.compile(r"\s*\bcost: (O\([^)]*\))\s*")

_INTRODUCTION = """\
# Verbs

Every change of state is one of these Lua scripts: it happens as a whole or not at all, and each checks that its caller
may still do it. They are in `shared/scripts/`, one file each. [Why](../adr/0003-one-lua-file-per-verb.md)."""


class Header(msgspec.Struct, frozen=True):
    """What the comment at the head of a verb's file says."""

    summary: str
    keys: str
    arguments: str
    returns: str
    invariant: str
    cost: str
    note: str


def render() -> str:
    """The whole page."""
    parts = [_INTRODUCTION]
    for module, who in _USERS.items():
        parts.append(f"## {who}")
        for name in _stubs(module):
            parts += _verb(name, read_header(name, (_FOLDER / f"{name}.lua").read_text(encoding="utf-8")))
    return page(*parts)


def read_header(name: str, source: str) -> Header:
    """The header of a verb. Raises InternalError where it lacks a part that every verb has."""
    comment = []
    for line in source.splitlines():
        if not line.startswith("--"):
            break
        comment.append(line.removeprefix("--").strip())
    texts = {"": ""}
    label = ""
    for line in comment:
        label = next((each for each in _LABELS if line.startswith(each)), label)
        gap = "  " if _ITEM.match(line) else " "
        texts[label] = f"{texts.get(label, '')}{gap}{line.removeprefix(label).strip()}".strip()
    invariant, *cost = _COST.split(texts.get("invariant:", ""))
    if not (texts[""] and texts.get("KEYS") and texts.get("->") and invariant and cost):
        raise InternalError(
            f"{name}.lua does not say what it does, its KEYS, what it returns, its invariant and its cost",
            hint="its first lines are a comment with these, as in the other files of shared/scripts",
        )
    return Header(texts[""], texts["KEYS"], texts.get("ARGV", ""), texts["->"], invariant, cost[0], cost[1])


def all_verbs() -> list[str]:
    """Every verb that has a stub, by who uses it."""
    return [name for module in _USERS for name in _stubs(module)]


def _stubs(module: str) -> list[str]:
    source = Path(import_module(f"shared.scripts.{module}").__file__ or "").read_text(encoding="utf-8")
    return list(dict.fromkeys(_STUB.findall(source)))


def _verb(name: str, header: Header) -> list[str]:
    rows = [
        ["KEYS", _numbered(header.keys)],
        ["ARGV", _numbered(header.arguments)],
        ["returns", _plain(header.returns)],
        ["invariant", _plain(header.invariant.removesuffix("."))],
        ["cost", header.cost],
    ]
    summary = _plain(header.summary)
    note = [_plain(header.note)] if header.note else []
    return [f"### `{name}`", summary, table(["", ""], [row for row in rows if row[1]]), *note]


def _numbered(text: str) -> str:
    return " · ".join(re.sub(r"^(\d+) ", r"**\1** ", _plain(item)) for item in re.split(r" {2,}", text))


def _plain(text: str) -> str:
    """Without what Markdown would take for HTML."""
    return re.sub(r"\s+", " ", text).replace("<", "&lt;").replace(">", "&gt;")
