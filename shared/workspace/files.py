"""Reading a workspace folder from disk: the one place of this package that touches a file system."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from shared.errors import WorkspaceError
from shared.workspace.problems import Problems

_PASSED_OVER = {"__pycache__", "node_modules"}


class Files(msgspec.Struct, frozen=True):
    """What a folder holds: the texts of the files that mean something to us, by path, and the paths of the others."""

    texts: dict[str, str]
    skipped: list[str]


def read_folder(root: Path, suffixes: Sequence[str], problems: Problems) -> Files:
    """All files under `root`, with paths relative to it and '/' between folders.

    Hidden files and folders, caches and virtual environments are passed over. Raises WorkspaceError if the folder
    cannot be read; a file that cannot be is a problem.
    """
    texts: dict[str, str] = {}
    skipped: list[str] = []
    for path in _walk(root):
        name = path.relative_to(root).as_posix()
        if not name.endswith(tuple(suffixes)):
            skipped.append(name)
            _warn_of_near_miss(name, suffixes, problems)
            continue
        try:
            texts[name] = path.read_bytes().decode("utf-8-sig")
        except OSError as error:
            problems.error(name, 0, "", f"cannot be read: {error.strerror}")
        except UnicodeDecodeError as error:
            problems.error(name, 0, "", f"not UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}")
    return Files(texts, skipped)


def _walk(root: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise WorkspaceError(f"{error.filename} cannot be read: {error.strerror}", hint="allow the folder to be read")

    for folder, folders, names in os.walk(root, onerror=refuse):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and name not in _PASSED_OVER and not Path(folder, name, "pyvenv.cfg").exists()
        )
        yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))


def _warn_of_near_miss(name: str, suffixes: Sequence[str], problems: Problems) -> None:
    """`x.mqtt_trigger.yml` would be skipped without a word of why."""
    if name.endswith(".yml") and f"{name[:-4]}.yaml".endswith(tuple(suffixes)):
        problems.warn(name, 0, "", "not read", f"name it {name.rpartition('/')[2][:-4]}.yaml")
