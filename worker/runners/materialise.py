"""Script versions on disk: one folder per version, named by its content hash, complete or not there at all."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from shared.errors import WorkspaceError
from worker.runners.base import ScriptFiles

_VERSION = re.compile(r"[A-Za-z0-9_-]+")


def materialise(
    cache_dir: Path, version: str, modules: Mapping[str, str], entry: str, *, has_preprocessor: bool = False
) -> ScriptFiles:
    """Write a script and its modules (relative path → source) below `cache_dir`/`version`.

    Idempotent, and safe with several workers at once: the folder is made under another name, synced and renamed, and
    a version that is there already is taken as it is. Raises WorkspaceError for a path that is absolute, leads out of
    the folder or is not plain, and when `entry` is not among the modules.
    """
    if not _VERSION.fullmatch(version):
        raise WorkspaceError(f"{version!r} is not a content hash", version=version)
    if entry not in modules:
        raise WorkspaceError(f"the script {entry!r} is not among its own modules", file=entry)
    for path in modules:
        _check(path)
    root = cache_dir.resolve() / version
    if not root.is_dir():
        _write(root, modules)
    return ScriptFiles(version, str(root), str(root / entry), has_preprocessor)


def _check(path: str) -> None:
    parts = PurePosixPath(path).parts
    plain = path == "/".join(parts) and "\0" not in path and "\\" not in path
    if not parts or not plain or ".." in parts:
        raise WorkspaceError(
            f"the module path {path!r} does not stay inside the workspace",
            hint="use relative paths with forward slashes, without . and ..",
            file=path,
        )


def _write(root: Path, modules: Mapping[str, str]) -> None:
    root.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".new-", dir=root.parent))
    try:
        for path, source in modules.items():
            file = draft / path
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                _write_synced(file, source.encode())
            except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
                raise WorkspaceError(f"the module path {path!r} is both a file and a folder", file=path) from error
        draft.chmod(0o755)
        try:
            draft.rename(root)
        except OSError:
            if not root.is_dir():  # else another worker was faster, and by its name its content is ours
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _write_synced(file: Path, content: bytes) -> None:
    with file.open("xb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
