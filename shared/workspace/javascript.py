"""TypeScript and JavaScript, read just as far as a deployment needs: main's parameters, a preprocessor, own imports.

A tolerant reader, no parser: what it does not understand it passes over, and running the code tells what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

_NO_CODE = re.compile(r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`""", re.DOTALL)
_EXPORTED = r"\bexport\s+(?:default\s+)?(?:(?:async\s+)?function\s*\*?\s*{0}\b|(?:const|let|var)\s+{0}\b[^=]*=)"
_NAME = re.compile(r"(?:\.\.\.)?\s*([A-Za-z_$][\w$]*)")
_IMPORT = re.compile(r"""(?:\bfrom|\bimport|\bimport\s*\(|\bexport\s+\*\s+from)\s*(["'])([^"'\n]+)\1""")
_OPENING, _CLOSING = "([{<", ")]}>"
_EXTENSIONS = ("", ".ts", ".deno.ts", ".bun.ts", ".js")


def parameters(text: str, function: str = "main") -> list[str] | None:
    """Names of the exported function's parameters in order; None if the file exports none of that name.

    A parameter that is taken apart (`{a, b}`) has no name: it is called arg1, arg2 … by its place.
    """
    code = _NO_CODE.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
    found = re.search(_EXPORTED.format(function), code)
    if found is None:
        return None
    start = code.find("(", found.end())
    if start < 0:
        return []
    names = []
    for number, part in enumerate(_split(code[start + 1 :]), 1):
        match = _NAME.match(part)
        if not match:
            names.append(f"arg{number}")
        elif match[1] != "this":
            names.append(match[1])
    return names


def closure(entry: str, texts: Mapping[str, str]) -> dict[str, str]:
    """Path → text of a script and of all files of the workspace that it imports, sorted by path.

    `./x.ts` is beside the importing file, `/f/lib/x.ts` at the workspace's root; anything else is not the workspace's.
    """
    found: set[str] = set()
    waiting = [entry]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _imports(path, texts)
    return {path: texts[path] for path in sorted(found)}


def imported(text: str) -> Iterator[str]:
    """Whatever a file imports, as it is written there."""
    return (match[2] for match in _IMPORT.finditer(text))


def _imports(path: str, texts: Mapping[str, str]) -> Iterator[str]:
    for name in imported(texts[path]):
        if name.startswith("/"):
            base = name.lstrip("/")
        elif name.startswith("."):
            base = _normal(PurePosixPath(path).parent, name)
        else:
            continue
        yield from (base + extension for extension in _EXTENSIONS if base + extension in texts)


def _normal(folder: PurePosixPath, name: str) -> str:
    parts = list(folder.parts)
    for part in name.split("/"):
        if part == ".." and parts:
            parts.pop()
        elif part not in {".", "..", ""}:
            parts.append(part)
    return "/".join(parts)


def _split(code: str) -> Iterator[str]:
    """The parts of a list of parameters, up to its closing parenthesis."""
    depth, part = 0, ""
    for index, character in enumerate(code):
        if character == ">" and code[index - 1] == "=":
            pass  # an arrow
        elif character in _OPENING:
            depth += 1
        elif character in _CLOSING:
            if depth == 0:
                break
            depth -= 1
        elif character == "," and depth == 0:
            yield part.strip()
            part = ""
            continue
        part += character
    if part.strip():
        yield part.strip()
