"""Reading a workspace folder from disk: the one place of this package that touches a file system."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec

from shared.errors import WorkspaceError
from shared.workspace import layout
from shared.workspace.problems import Problems
from shared.workspace.selection import EVERYTHING, Selection, read_selection

MIB = 1 << 20
MAX_FILE_BYTES = 8 * MIB
"""Redis does nothing else while a file is stored, and each worker holds those of its scripts."""


class Files(msgspec.Struct, frozen=True):
    """What a folder holds: the texts of the files that mean something to us, by path, and the paths of the others.

    `selection`: which files the folder is about; `texts` holds only such.
    """

    texts: dict[str, str]
    skipped: list[str]
    selection: Selection = EVERYTHING


def read_folder(root: Path, problems: Problems) -> Files:
    """All files under `root`, with paths relative to it and '/' between folders.

    Hidden files and folders, caches and virtual environments are passed over, `wmill.yaml` says what else; links to
    folders are not followed, with a warning. Raises WorkspaceError if the folder cannot be read; a file that cannot be,
    or that is too large, is a problem.
    """
    settings = _read(root, layout.SETTINGS, problems) if (root / layout.SETTINGS).is_file() else None
    selection = EVERYTHING if settings is None else read_selection(settings, problems)
    texts: dict[str, str] = {}
    skipped: list[str] = []
    for name in _walk(root, problems):
        if name == layout.SETTINGS or name.endswith(layout.TESTS):  # tests are for `headrace test`
            continue
        if not layout.means_something(name) or not selection.covers(name):
            skipped.append(name)
            _say_why(name, problems)
        elif (text := _read(root, name, problems)) is not None:
            texts[name] = text
    return Files(texts, skipped, selection)


def _read(root: Path, name: str, problems: Problems) -> str | None:
    try:
        found = (root / name).stat()
        if not stat.S_ISREG(found.st_mode):  # reading a pipe would wait for somebody who writes
            problems.error(name, 0, "", "is neither a file nor a link to one", "remove it, or name it otherwise")
            return None
        if found.st_size > MAX_FILE_BYTES:
            message = f"is {found.st_size / MIB:.1f} MiB, at most {MAX_FILE_BYTES // MIB} are deployed"
            problems.error(name, 0, "", message, "keep data outside of the workspace, and read it from there")
            return None
        return (root / name).read_bytes().decode("utf-8-sig")
    except OSError as error:
        problems.error(name, 0, "", f"cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        problems.error(name, 0, "", f"not UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}")
    return None


def _walk(root: Path, problems: Problems) -> Iterator[str]:
    def refuse(error: OSError) -> None:
        raise WorkspaceError(f"{error.filename} cannot be read: {error.strerror}", hint="allow the folder to be read")

    for folder, folders, names in os.walk(root, onerror=refuse):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".")
            and name not in layout.PASSED_OVER
            and not os.path.exists(os.path.join(folder, name, "pyvenv.cfg"))  # noqa: PTH110, PTH118 - once per folder
        )
        relative = Path(folder).relative_to(root).as_posix()
        prefix = "" if relative == "." else f"{relative}/"
        for name in folders:
            if os.path.islink(os.path.join(folder, name)):  # noqa: PTH114, PTH118 - once per folder
                problems.warn(prefix + name, 0, "", "a link to a folder is not followed", "put the files there")
        yield from (prefix + name for name in sorted(names) if not name.startswith("."))


def _say_why(name: str, problems: Problems) -> None:
    """`x.mqtt_trigger.yml` would be skipped without a word of why."""
    if layout.is_environment_copy(name):
        problems.note(name, 0, "", "belongs to one environment of Windmill's tools: skipped")
    elif name.endswith(".yml") and layout.owner_of(f"{name[:-4]}.yaml"):
        problems.warn(name, 0, "", "not read", f"name it {name.rpartition('/')[2][:-4]}.yaml")
