"""A child process with a keeper, a scratch folder and a pipe of its own: what every runner's child is.

The child's descriptors 1 and 2 are the pipe. The child holds its reading end too, so that it can take what a run wrote
when that run ends; the parent takes what a run that goes on writes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from worker.runners.base import TAIL_BYTES
from worker.runners.child.headrace_child import keeper

_PIPE_READ = 65536
_PASSES = 20
_REAP_S = 0.5
_KEEPER = Path(keeper.__file__)
_keepers: set[int] = set()
_SCRATCH = "headrace-scratch-"


class RawOutput:
    """What was read from a child's raw output: the first `limit` bytes since the last `take`, and the very end."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept = bytearray()
        self._dropped = 0
        self._tail = b""

    def __bool__(self) -> bool:
        return bool(self._kept)

    @property
    def tail(self) -> str:
        """The last 4 KiB ever written."""
        return self._tail.decode("utf-8", "replace")

    @property
    def kept(self) -> bytes:
        """What was kept since the last `take`."""
        return bytes(self._kept)

    def add(self, data: bytes) -> None:
        """Keep what there is room for."""
        kept = data[: self._limit - len(self._kept)]
        self._kept += kept
        self._dropped += len(data) - len(kept)
        self._tail = (self._tail + data)[-TAIL_BYTES:]

    def take(self) -> tuple[bytes, int]:
        """What was kept, and how many bytes were not; both start again from nothing."""
        taken = bytes(self._kept), self._dropped
        self._kept.clear()
        self._dropped = 0
        return taken


class Scratch:
    """A new folder to work in, locked while it is in use, so that others know: the lock ends with this process."""

    def __init__(self) -> None:
        self.path = tempfile.mkdtemp(prefix=_SCRATCH)
        self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def sweep_scratch(folder: Path, older_than_s: float = 10.0) -> int:
    """Remove the scratch folders in `folder` that workers which were killed have left there; how many.

    Never touches one that is in use, by whatever process on this machine; a younger one may not be locked yet.
    """
    swept = 0
    for found in folder.glob(f"{_SCRATCH}*"):
        with contextlib.suppress(OSError):  # somebody else's, in use, or gone
            if time.time() - found.stat().st_ctime < older_than_s:
                continue
            lock = os.open(found, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(found)
                swept += 1
            finally:
                os.close(lock)
    return swept


def _end_orphans() -> None:
    """End and reap what a keeper that was killed has left to this process, if it adopts (`keeper.adopt_orphans`).

    That are its children in other sessions that are no keepers: what it starts for itself stays in its own.
    """
    for _ in range(_PASSES):  # what dies by itself meanwhile leaves us its own children
        orphans = [pid for pid in keeper.children(os.getpid()) if _is_orphan(pid)]
        if not orphans:
            break
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                keeper.end_descendants(pid)
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def _is_orphan(pid: int) -> bool:
    try:
        return pid not in _keepers and os.getsid(pid) != os.getsid(0)
    except ProcessLookupError:
        return False


def kept(command: Sequence[str]) -> list[str]:
    """The command that executes this one below a keeper. For a child that does not start with one by itself."""
    return [sys.executable, "-I", "-S", str(_KEEPER), str(os.getpid()), *command]


class ChildProcess:
    """A started keeper (`headrace_child.keeper`) with an empty stdin, and below it the process that it keeps.

    It works in a scratch folder that is removed with it.
    """

    def __init__(self, raw_read: int, process: subprocess.Popen[bytes], scratch: Scratch) -> None:
        self.raw_fd = raw_read
        self._process = process
        self._scratch = scratch
        self._pidfd = os.pidfd_open(process.pid)
        _keepers.add(process.pid)

    @classmethod
    def start(
        cls, command: Sequence[str], environment: Mapping[str, str], pipe: tuple[int, int], pass_fds: Sequence[int]
    ) -> ChildProcess:
        """Start `command` with the pipe as its output. The pipe's writing end is closed on this side."""
        raw_read, raw_write = pipe
        os.set_blocking(raw_read, False)
        scratch = Scratch()
        try:
            process = subprocess.Popen(
                command,
                env=dict(environment),
                cwd=scratch.path,
                stdin=subprocess.DEVNULL,
                stdout=raw_write,
                stderr=raw_write,
                pass_fds=(*pass_fds, raw_read),
                start_new_session=True,
            )
        except OSError:
            scratch.remove()
            os.close(raw_read)
            raise
        finally:
            os.close(raw_write)
        return cls(raw_read, process, scratch)

    @property
    def folder(self) -> str:
        """The folder that it works in."""
        return self._scratch.path

    @property
    def pid(self) -> int:
        """Process id of the keeper."""
        return self._process.pid

    def read_output(self) -> bytes | None:
        """Up to 64 KiB of raw output; b"" when there is none now, None when every writer is gone. Never blocks."""
        try:
            return os.read(self.raw_fd, _PIPE_READ) or None
        except BlockingIOError:
            return b""

    def wait_exit(self, timeout_s: float) -> bool:
        """Has the child ended with all that it started, within `timeout_s`? It stays unreaped, and its id ours."""
        poller = select.poll()
        poller.register(self._pidfd, select.POLLIN)
        return bool(poller.poll(timeout_s * 1000))

    def kill(self) -> None:
        """SIGKILL all that the child has started, the child, and its keeper."""
        if not self.wait_exit(0) and keeper.end_descendants(self.pid):
            self.wait_exit(_REAP_S)  # else what was killed is left to whoever adopts it
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def end(self) -> int:
        """Kill what is left, reap the keeper, close the pipe, remove the scratch folder.

        Returns the child's exit status, or minus the number of the signal that ended it.
        """
        self.kill()
        returncode = self._process.wait()
        _keepers.discard(self.pid)
        if returncode == -signal.SIGKILL:  # of the code, or of the keeper itself
            _end_orphans()
        os.close(self._pidfd)
        os.close(self.raw_fd)
        self._scratch.remove()
        return returncode
