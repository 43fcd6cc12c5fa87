"""A child process with a process group, a scratch folder and a pipe of its own: what every runner's child is.

The child's descriptors 1 and 2 are the pipe. The child holds its reading end too, so that it can take what a run wrote
when that run ends; the parent takes what a run that goes on writes.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence

from worker.runners.base import TAIL_BYTES

_PIPE_READ = 65536


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


class ChildProcess:
    """A started child: leader of its own session and process group, with an empty stdin.

    It works in a scratch folder that is removed with it.
    """

    def __init__(self, raw_read: int, process: subprocess.Popen[bytes], scratch: str) -> None:
        self.raw_fd = raw_read
        self._process = process
        self._scratch = scratch
        self._pidfd = os.pidfd_open(process.pid)

    @classmethod
    def start(
        cls, command: Sequence[str], environment: Mapping[str, str], pipe: tuple[int, int], pass_fds: Sequence[int]
    ) -> ChildProcess:
        """Start `command` with the pipe as its output. The pipe's writing end is closed on this side."""
        raw_read, raw_write = pipe
        os.set_blocking(raw_read, False)
        scratch = tempfile.mkdtemp(prefix="headrace-run-")
        try:
            process = subprocess.Popen(
                command,
                env=dict(environment),
                cwd=scratch,
                stdin=subprocess.DEVNULL,
                stdout=raw_write,
                stderr=raw_write,
                pass_fds=(*pass_fds, raw_read),
                start_new_session=True,
            )
        except OSError:
            shutil.rmtree(scratch)
            os.close(raw_read)
            raise
        finally:
            os.close(raw_write)
        return cls(raw_read, process, scratch)

    @property
    def pid(self) -> int:
        """Process id, and id of the process group."""
        return self._process.pid

    def read_output(self) -> bytes | None:
        """Up to 64 KiB of raw output; b"" when there is none now, None when every writer is gone. Never blocks."""
        try:
            return os.read(self.raw_fd, _PIPE_READ) or None
        except BlockingIOError:
            return b""

    def wait_exit(self, timeout_s: float) -> bool:
        """Has the child ended, within `timeout_s`? It stays unreaped, so that its group id stays ours."""
        poller = select.poll()
        poller.register(self._pidfd, select.POLLIN)
        return bool(poller.poll(timeout_s * 1000))

    def kill_group(self) -> None:
        """SIGKILL the child and all that it started in its process group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def end(self) -> int:
        """Kill the group, reap the child, close the pipe, remove the scratch folder.

        Returns the exit status, or minus the number of the signal.
        """
        self.kill_group()
        returncode = self._process.wait()
        os.close(self._pidfd)
        os.close(self.raw_fd)
        shutil.rmtree(self._scratch, ignore_errors=True)
        return returncode
