"""What a script says in comments about the packages that it needs: PEP 723, and Windmill's blocks and pins. Pure.

A block of Windmill's is a heading and, right below, one requirement a comment line:

    # requirements:
    # httpx==0.28.1
    # rich
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

import msgspec

_HEADING = re.compile(r"#\s*(?P<extra>extra_)?requirements:\s*")
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_REQUIREMENT = re.compile(rf"{_NAME}\s*(?:\[[^\]]*\])?\s*(?:@\s*\S+|\(?(?:===|[=<>!~]=|[<>]).*|)\s*(?:;.*)?", re.ASCII)
_PIN = re.compile(r"#\s*(?P<re>re)?pin:\s*(?P<requirement>[^#]+)")
_PEP723 = re.compile(r"(?m)^# /// (?P<kind>[a-zA-Z0-9-]+)$\s(?P<content>(?:^#(?:| .*)$\s)+)^# ///$")
_PYTHON = re.compile(r"#\s*py(?::\s*(?P<spec>\S.*)|(?P<major>3)\.?(?P<minor>\d{1,2}))\s*")


class Line(msgspec.Struct, frozen=True):
    """A requirement, or what is asked of Python, and the line that it stands in."""

    line: int
    text: str


class BlockProblem(Exception):
    """A block is not what it says it is."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


class Blocks(msgspec.Struct, frozen=True):
    """`listed` None: there is no list, what is imported counts. `not_one` are lines that end a block and look odd."""

    listed: list[Line] | None
    extra: list[Line]
    python: Line | None
    not_one: list[Line]


class Pin(msgspec.Struct, frozen=True):
    """`# pin: name==version` behind an import. `wins` (`# repin:`): over the pins that other files have for it."""

    requirement: str
    wins: bool


def read_blocks(text: str) -> Blocks:
    """The blocks of one file. PEP 723 counts where there are both. Raises BlockProblem."""
    found = Blocks(None, [], None, [])
    if "#" not in text:
        return found
    listed, python = None, None
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        if not line.startswith("#"):
            continue
        if heading := _HEADING.fullmatch(line):
            block = _block(lines, number, found.not_one)
            if heading["extra"]:
                found.extra.extend(block)
            else:
                listed = (listed or []) + block
        elif (asked := _PYTHON.fullmatch(line)) and python is None:
            python = Line(number, asked["spec"] or f"=={asked['major']}.{asked['minor']}")
    return _with_pep723(text, msgspec.structs.replace(found, listed=listed, python=python))


def read_pin(line: str) -> Pin | None:
    """The pin in a line of code."""
    match = _PIN.search(line)
    return Pin(match["requirement"].strip(), match["re"] is not None) if match else None


def is_requirement(text: str) -> bool:
    """Whether a text has the form of a requirement (PEP 508)."""
    return _REQUIREMENT.fullmatch(text) is not None


def _block(lines: list[str], start: int, not_one: list[Line]) -> list[Line]:
    found = []
    for number, line in enumerate(lines[start:], start + 1):
        text = line.removeprefix("#").strip()
        if not line.startswith("#") or not text:
            break
        if not is_requirement(text):
            not_one.append(Line(number, text))
            break
        found.append(Line(number, text))
    return found


def _with_pep723(text: str, found: Blocks) -> Blocks:
    blocks = [match for match in _PEP723.finditer(text) if match["kind"] == "script"]
    if not blocks:
        return found
    start = text.count("\n", 0, blocks[0].start()) + 1
    if len(blocks) > 1:
        second = text.count("\n", 0, blocks[1].start()) + 1
        raise BlockProblem(second, f"a second script block: the first one is in line {start} (PEP 723)")
    content = [line[2:] if line.startswith("# ") else line[1:] for line in blocks[0]["content"].splitlines()]
    try:
        told = tomllib.loads("\n".join(content))
    except tomllib.TOMLDecodeError as error:
        raise BlockProblem(start, f"the script block is not TOML: {error}") from error
    listed = [Line(_line_of(each, content, start), each) for each in _texts(told, start)]
    python = told.get("requires-python")
    if python is not None and not isinstance(python, str):
        raise BlockProblem(start, "requires-python of the script block is not a text")
    asked = Line(_line_of(python, content, start), python) if python else found.python
    return msgspec.structs.replace(found, listed=listed, python=asked)


def _texts(told: dict[str, Any], line: int) -> list[str]:
    listed = told.get("dependencies", [])
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise BlockProblem(line, "dependencies of the script block is not a list of texts")
    return [each.strip() for each in listed]


def _line_of(text: str, content: list[str], start: int) -> int:
    """The content begins in the line after `start`."""
    return next((start + number for number, line in enumerate(content, 1) if text in line), start)
