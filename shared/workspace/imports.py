"""Which files of the workspace a script needs, found in its source without running it.

A script runs with two places to import from: its own folder, then the root of the workspace. Only what lies in the
workspace is followed; everything else is the standard library's or the environment's.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import PurePosixPath

import msgspec

_ROOTS = frozenset({"f", "u"})


class Import(msgspec.Struct, frozen=True):
    """`level` dots, then the dotted name as a list. `from a import b` may mean the module a.b."""

    level: int
    parts: list[str]
    line: int


class Module(msgspec.Struct, frozen=True):
    """A Python file: its text, its syntax tree (None where it has none: the file is wrong), and what it imports."""

    text: str
    tree: ast.Module | None
    imports: tuple[Import, ...] = ()


def closure(entry: str, modules: Mapping[str, Module]) -> dict[str, str]:
    """Path → text of a script and of all files of the workspace that importing it may load, sorted by path."""
    found: set[str] = set()
    waiting = {entry}
    while waiting:
        path = waiting.pop()
        found.add(path)
        waiting |= _needs(path, entry, modules) - found
    return {path: modules[path].text for path in sorted(found)}


def missing(path: str, modules: Mapping[str, Module], folders: AbstractSet[str]) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of what a file imports from a folder of the workspace, `f` or `u`, that is not there."""
    for wanted in modules[path].imports:
        parts = wanted.parts[:-1] if wanted.parts[-1] == "*" else wanted.parts
        if wanted.level or parts[0] not in _ROOTS:
            continue
        if not any(_is_there(base, parts, modules, folders) for base in (_folder(path), "")):
            yield wanted.line, ".".join(parts)


def _is_there(base: str, parts: list[str], modules: Mapping[str, Module], folders: AbstractSet[str]) -> bool:
    """Whether a name may mean something: a module, a folder of some, or what is within a module."""
    loaded = _load(base, parts, modules)
    return bool(loaded) or _join(base, *parts) in folders


def folders_of(files: Iterable[str]) -> set[str]:
    """All folders that these files lie in."""
    found: set[str] = set()
    for file in files:
        folder = file.rpartition("/")[0]
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return found


def _needs(path: str, entry: str, modules: Mapping[str, Module]) -> set[str]:
    needed: set[str] = set()
    for wanted in modules[path].imports:
        if wanted.level:
            needed |= _relative(path, wanted, modules)
        else:
            needed |= _absolute(entry, wanted.parts, modules)
    return needed


def imports_of(tree: ast.Module) -> Iterator[Import]:
    """Every import statement, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(0, alias.name.split("."), node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = node.module.split(".") if node.module else []
            yield from (Import(node.level, [*parts, alias.name], node.lineno) for alias in node.names)


def _absolute(entry: str, parts: list[str], modules: Mapping[str, Module]) -> set[str]:
    """The first place that has the name wins, as on sys.path; folders without __init__.py are joined (PEP 420)."""
    found: set[str] = set()
    for base in dict.fromkeys((_folder(entry), "")):
        loaded = _load(base, parts, modules)
        if loaded and loaded[0] in {_join(base, parts[0], "__init__.py"), _join(base, f"{parts[0]}.py")}:
            return set(loaded)
        found.update(loaded)
    return found


def _relative(path: str, wanted: Import, modules: Mapping[str, Module]) -> set[str]:
    base = PurePosixPath(path).parent
    for _ in range(wanted.level - 1):
        if not base.name:
            return set()  # above the workspace
        base = base.parent
    packages = [_join(parent, "__init__.py") for parent in (base, *base.parents)]
    return {package for package in packages if package in modules} | set(_load(_text(base), wanted.parts, modules))


def _load(base: str, parts: list[str], modules: Mapping[str, Module]) -> list[str]:
    """The files that `import a.b.c` loads from a folder, in order: packages on the way, then the module."""
    loaded: list[str] = []
    folder = base
    for part in parts:
        folder = _join(folder, part)
        if (package := _join(folder, "__init__.py")) in modules:
            loaded.append(package)
        elif f"{folder}.py" in modules:
            loaded.append(f"{folder}.py")
            break
    return loaded


def _folder(path: str) -> str:
    return _text(PurePosixPath(path).parent)


def _join(base: str | PurePosixPath, *parts: str) -> str:
    return "/".join((_text(base), *parts) if _text(base) else parts)


def _text(path: str | PurePosixPath) -> str:
    text = str(path)
    return "" if text == "." else text
