"""Windmill's names of languages, and the files in which their code is kept here. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from console.errors import bad_request
from shared.definitions import Language

_EXTENSIONS: Final[Mapping[str, str]] = {
    "python3": ".py", "bash": ".sh", "deno": ".deno.ts", "bun": ".ts", "nativets": ".fetch.ts", "bunnative": ".ts",
}  # fmt: skip
_NAMES: Final[Mapping[str, str]] = {
    ".deno.ts": "deno",
    ".fetch.ts": "nativets",
    ".ts": "bun",
    ".bun.ts": "bun",
    ".js": "bun",
}
_OURS: Final[Mapping[Language, str]] = {"python3": "python3", "bash": "bash", "deno": "deno"}


def extension_of(language: str) -> str:
    """Of the files of a language. Raises Refusal (400) for one that is not run."""
    found = _EXTENSIONS.get(language)
    if found is None:
        raise bad_request(f"scripts in {language} are not run here: write {', '.join(_EXTENSIONS)}")
    return found


def language_name(extension: str, language: Language) -> str:
    """What Windmill calls the language of a file with this extension."""
    return _NAMES.get(extension, _OURS[language])
