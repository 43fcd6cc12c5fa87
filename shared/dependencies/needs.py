"""What a Python script asks for, found in its sources without running them. Pure.

In this order: the script's own list (PEP 723, or `# requirements:`) is all that counts; else what the script and the
modules of the workspace that it imports name themselves, or import. `# extra_requirements:` adds to either.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

import msgspec

from shared.definitions import Script
from shared.dependencies.blocks import BlockProblem, Blocks, Line, Pin, is_requirement, read_blocks, read_pin
from shared.dependencies.interpreter import Interpreter
from shared.dependencies.packages import package_of
from shared.dependencies.python_versions import satisfies
from shared.workspace.problems import Problems

_NEVER = frozenset({"f", "u", "headrace"})
"""Folders of a workspace, and the module that every script finds."""
_CATCHES = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})


class Need(msgspec.Struct, frozen=True):
    """A requirement and where it comes from; line 0: the whole file."""

    text: str
    file: str
    line: int


class _Import(msgspec.Struct, frozen=True):
    parts: list[str]
    line: int
    pin: Pin | None


def find_needs(script: Script, interpreter: Interpreter, problems: Problems) -> list[Need]:
    """What a script asks for, each requirement once, sorted. A block that cannot be read is a problem."""
    blocks = {file: _blocks(file, text, problems) for file, text in script.modules.items()}
    _check_python(script.entry, blocks[script.entry], interpreter, problems)
    if blocks[script.entry].listed is not None:
        blocks = {script.entry: blocks[script.entry]}
    here = _local_names(script)
    inferred: list[tuple[str, _Import]] = []
    needs: list[Need] = []
    for file, said in blocks.items():
        listed = [*(said.listed or []), *said.extra]
        needs += [Need(each.text, file, each.line) for each in listed if _is_one(file, each, problems)]
        if said.listed is None:
            names = (each for each in imports(script.modules[file]) if not _is_there(each, here, interpreter))
            inferred += [(file, each) for each in names]
    needs += _inferred(inferred, problems)
    return list({need.text: need for need in sorted(needs, key=lambda need: need.text)}.values())


@functools.lru_cache(maxsize=4096)
def imports(text: str) -> tuple[_Import, ...]:
    """The absolute imports of a file. Left out are those that the code can do without: in a `try` that catches their
    failure, and those that are only for type checkers.
    """
    lines = text.splitlines()
    return tuple(_imports(ast.parse(text).body, lines))


def _imports(nodes: Iterable[ast.AST], lines: list[str]) -> Iterator[_Import]:
    for node in nodes:
        match node:
            case ast.Import(names=names):
                yield from (_Import(alias.name.split("."), node.lineno, _pin(node, lines)) for alias in names)
            case ast.ImportFrom(level=0, module=str(module), names=names):
                for alias in names:
                    yield _Import([*module.split("."), alias.name], node.lineno, _pin(node, lines))
            case ast.If(test=test, orelse=orelse) if _is_type_checking(test):
                yield from _imports(orelse, lines)
            case ast.Try(handlers=handlers, orelse=orelse, finalbody=final) if any(map(_catches, handlers)):
                yield from _imports([*orelse, *final], lines)
            case _:
                yield from _imports(ast.iter_child_nodes(node), lines)


def _is_type_checking(test: ast.expr) -> bool:
    return "TYPE_CHECKING" in {getattr(test, "id", ""), getattr(test, "attr", "")}


def _catches(handler: ast.ExceptHandler) -> bool:
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(each is None or (isinstance(each, ast.Name) and each.id in _CATCHES) for each in caught)


def _pin(node: ast.stmt, lines: list[str]) -> Pin | None:
    last = node.end_lineno or node.lineno
    return read_pin(lines[last - 1]) or read_pin(lines[node.lineno - 1])


def _local_names(script: Script) -> frozenset[str]:
    """Top-level names that the workspace provides: from the script's own folder, or from the root."""
    found = set(_NEVER)
    own = PurePosixPath(script.entry).parent
    for path in map(PurePosixPath, script.modules):
        found.add(path.parts[0].removesuffix(".py"))
        if path.is_relative_to(own):
            found.add(path.relative_to(own).parts[0].removesuffix(".py"))
    return frozenset(found)


def _is_there(wanted: _Import, here: frozenset[str], interpreter: Interpreter) -> bool:
    name = wanted.parts[0]
    return name in here or (not wanted.pin and (name in interpreter.importable or name.startswith("_")))


def _inferred(wanted: list[tuple[str, _Import]], problems: Problems) -> Iterator[Need]:
    """One requirement for each imported name: what it is pinned to, else its package in any version."""
    pins: dict[str, tuple[str, _Import]] = {}
    for file, each in wanted:
        before = pins.get(each.parts[0])
        if each.pin and (before is None or each.pin.wins):
            pins[each.parts[0]] = (file, each)
    for file, each in wanted:
        pinned_in, pinned = pins.get(each.parts[0], (file, each))
        text = pinned.pin.requirement if pinned.pin else package_of(each.parts)
        if text is not None:
            need = Need(text, pinned_in, pinned.line)
            if _is_one(pinned_in, Line(need.line, text), problems):
                yield need
        elif not any(package_of(other.parts) and other.parts[0] == each.parts[0] for _, other in wanted):
            name = ".".join(each.parts)
            hint = f"write it behind the import, as in  import {name}  # pin: the-package==1.2.3"
            problems.error(file, each.line, name, "the import does not tell which package it needs", hint)


def _blocks(file: str, text: str, problems: Problems) -> Blocks:
    try:
        found = read_blocks(text)
    except BlockProblem as error:
        problems.error(file, error.line, "", error.message)
        return Blocks([], [], None, [])
    for line in found.not_one:
        message = f"{line.text!r} is no requirement: the list of requirements ends above it"
        problems.warn(file, line.line, "", message, "end the list with an empty line")
    return found


def _is_one(file: str, each: Line, problems: Problems) -> bool:
    if is_requirement(each.text):
        return True
    problems.error(file, each.line, "", f"{each.text!r} is no requirement", "write for example httpx==0.28.1")
    return False


def _check_python(file: str, said: Blocks, interpreter: Interpreter, problems: Problems) -> None:
    asked = said.python
    if asked is not None and not satisfies(interpreter.version, asked.text):
        message = f"asks for Python {asked.text}, and scripts run with {interpreter.version}"
        problems.warn(file, asked.line, "", message, "the setting worker.python names the interpreter")
