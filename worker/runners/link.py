"""A living child that speaks frames, and what joins us to it: a socket, a pipe, and memory for what it prints."""

from __future__ import annotations

import mmap
import os
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from worker.runners.process import ChildProcess

_WRITTEN = struct.Struct("<QQ")
_BEGUN = struct.Struct("<Q")
_BEGUN_AT = _WRITTEN.size
_READING_AT = _BEGUN_AT + _BEGUN.size
_TEXT_AT = _READING_AT + 8


@dataclass(slots=True, frozen=True)
class ChildFds:
    """Descriptors that a child inherits.

    The socket for frames, the reading end of its own raw output, and memory for what the current run prints: u64 bytes
    written, u64 bytes dropped, u64 runs begun, u64 whether the parent is reading the raw output, the text.

    The child counts a run before it begins it, and begins none while the parent reads. Before it answers a run it
    takes what is left of the run's raw output, so that what the parent finds there is of the last run begun.
    """

    socket: int
    raw: int
    area: int


@dataclass(slots=True)
class Link:
    """The parent's ends. `socket` does not block."""

    process: ChildProcess
    socket: socket.socket
    area: mmap.mmap

    @classmethod
    def start(
        cls, command: Callable[[ChildFds], list[str]], environment: Mapping[str, str], max_output_bytes: int
    ) -> Link:
        """Start the command made for the child's descriptors. Raises OSError when it cannot be executed."""
        ours, theirs = socket.socketpair()
        pipe = os.pipe()
        area = os.memfd_create("headrace-run")
        size = _TEXT_AT + max_output_bytes
        os.ftruncate(area, size)
        fds = ChildFds(theirs.fileno(), pipe[0], area)
        try:
            process = ChildProcess.start(command(fds), environment, pipe, (fds.socket, fds.area))
            ours.settimeout(0)
            return cls(process, ours, mmap.mmap(area, size))
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(area)

    def printed(self) -> tuple[bytes, int]:
        """What the current run has printed, and how many bytes of it were dropped."""
        used, dropped = _WRITTEN.unpack_from(self.area, 0)
        return self.area[_TEXT_AT : _TEXT_AT + used], dropped

    def begun(self) -> int:
        """How many runs have begun."""
        (count,) = _BEGUN.unpack_from(self.area, _BEGUN_AT)
        return int(count)

    def read_output(self) -> tuple[bytes | None, int]:
        """Raw output as `ChildProcess.read_output`, and how many runs had begun when it was read."""
        self.area[_READING_AT] = 1
        try:
            return self.process.read_output(), self.begun()
        finally:
            self.area[_READING_AT] = 0

    def end(self) -> int:
        """Kill and reap the process and let everything go; the return code."""
        self.socket.close()
        self.area.close()
        return self.process.end()
