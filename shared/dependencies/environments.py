"""Virtual environments on this machine's disk: one per lock, interpreter and platform, complete or not there at all."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from shared.dependencies.interpreter import probe
from shared.dependencies.uv import UvFailed, make_environment
from shared.errors import WorkspaceError

UNUSED_S = 30 * 24 * 3600
"""An environment that nothing has used for so long is removed."""

_DRAFT = ".new-"
_LOCK = ".lock"


class Environments:
    """The environments in a folder, which processes of one machine may share, for one interpreter.

    Raises ConfigError when the interpreter cannot be asked what it is.
    """

    def __init__(self, folder: Path, python: str) -> None:
        self._folder = folder.absolute()
        self._interpreter = probe(python)

    def find(self, lock: str) -> Path | None:
        """The folder to import this lock's packages from, if it has been made; now it counts as used."""
        environment = self._place(lock)
        try:
            os.utime(environment)
        except FileNotFoundError:
            return None
        return _packages(environment)

    def prepare(self, lock: str) -> Path:
        """The same; makes it if it is not there. Takes as long as downloading takes.

        Of several that want the same one, in one process or in many, one makes it while the others wait. Raises
        WorkspaceError with uv's reason; nothing is left behind then.
        """
        if (made := self.find(lock)) is not None:
            return made
        environment = self._place(lock)
        draft = self._folder / (_DRAFT + environment.name)
        try:
            with _exclusively(self._folder / (environment.name + _LOCK)):
                if not environment.is_dir():
                    self._make(draft, environment, lock)
        except UvFailed as error:
            raise WorkspaceError(f"packages cannot be installed: {error.message}", hint=error.hint) from error
        except OSError as error:
            raise WorkspaceError(f"packages cannot be installed: {error}") from error
        return _packages(environment)

    def remove_unused(self, unused_s: float = UNUSED_S) -> list[Path]:
        """Remove what nothing has used for so long; what was removed."""
        before = time.time() - unused_s
        removed = []
        for folder in self._folder.iterdir() if self._folder.is_dir() else ():
            if folder.suffix == _LOCK or _used_at(folder) >= before:
                continue
            name = folder.name.removeprefix(_DRAFT)
            with suppress(OSError), _exclusively(self._folder / (name + _LOCK)):
                if _used_at(folder) < before:
                    _remove(folder)
                    removed.append(folder)
        return removed

    def _place(self, lock: str) -> Path:
        key = f"{self._interpreter.version}\0{self._interpreter.platform}\0{lock}"
        return self._folder / hashlib.sha256(key.encode()).hexdigest()[:24]

    def _make(self, draft: Path, environment: Path, lock: str) -> None:
        """Only one process at a time is here: a draft that is there is what a crash has left."""
        shutil.rmtree(draft, ignore_errors=True)
        try:
            make_environment(draft, self._interpreter.executable, lock)
            os.sync()  # a name that outlives a power cut must not stand for files that do not
            draft.rename(environment)
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def _packages(environment: Path) -> Path:
    return next(environment.glob("lib/*/site-packages"))


def _used_at(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:
        return time.time()


def _remove(folder: Path) -> None:
    """Half removed, it must not have the name of a whole one."""
    gone = folder.with_name(_DRAFT + folder.name.removeprefix(_DRAFT))
    if gone != folder:
        folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


@contextmanager
def _exclusively(file: Path) -> Iterator[None]:
    """The kernel frees the lock when its holder dies."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
