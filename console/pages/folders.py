"""The folders of a workspace, as lists are narrowed to them. Pure."""

from __future__ import annotations

from collections.abc import Iterable


def folders_of(paths: Iterable[str]) -> list[str]:
    """`f/NAME` and `u/NAME` of these paths, each once."""
    return sorted({"/".join(parts[:2]) for path in paths if len(parts := path.split("/")) > 2})  # noqa: PLR2004


def lies_in(path: str, folder: str) -> bool:
    """Whether a path lies in a folder, at any depth."""
    return path.startswith(f"{folder.strip('/')}/")
