"""What user code writes, kept where the parent can read it even after this process was killed.

sys.stdout and sys.stderr write into memory that is shared with the parent: no system call per line, and nothing is
lost with the process. What goes past them, to descriptors 1 and 2, is in a pipe.

The memory: u64 bytes written, u64 bytes dropped, u64 runs begun, u64 whether the parent is reading the pipe, text.
"""

from __future__ import annotations

import io
import mmap
import os
import select
import struct
import threading
import time
from typing import Any

_WRITTEN = struct.Struct("<QQ")
_BEGUN = struct.Struct("<Q")
_BEGUN_AT = _WRITTEN.size
_READING_AT = _BEGUN_AT + _BEGUN.size
_TEXT_AT = _READING_AT + 8
_PIPE_READ = 65536


class RunArea:
    """The shared memory: how many runs have begun, and the text of the one that executes, up to the area's size."""

    def __init__(self, fd: int) -> None:
        self._area = mmap.mmap(fd, 0)
        self._limit = len(self._area) - _TEXT_AT
        self._dropped = 0
        self._begun = 0
        self._lock = threading.RLock()  # an object printing from its __del__ may come in between
        self.used = 0
        self.shared = True
        os.register_at_fork(after_in_child=self._leave)

    def begin(self) -> None:
        """Count a run that begins. Waits while the parent reads the pipe, so that it knows whose output it reads."""
        while self._area[_READING_AT]:
            time.sleep(0.0001)
        self._begun += 1
        _BEGUN.pack_into(self._area, _BEGUN_AT, self._begun)

    def write(self, data: bytes, fd: int) -> None:
        """Append; beyond the limit only count. A fork of this process writes to the pipe instead."""
        if not self.shared:
            os.write(fd, data)
            return
        with self._lock:
            kept = data[: self._limit - self.used]
            start = _TEXT_AT + self.used
            self._area[start : start + len(kept)] = kept
            self.used += len(kept)
            self._dropped += len(data) - len(kept)
            _WRITTEN.pack_into(self._area, 0, self.used, self._dropped)

    def read(self) -> tuple[str, int]:
        """The text, and how many bytes were dropped."""
        with self._lock:
            text = self._area[_TEXT_AT : _TEXT_AT + self.used]
            return text.decode("utf-8", "replace"), self._dropped

    def clear(self) -> None:
        """Forget it, after it was sent."""
        with self._lock:
            self.used = self._dropped = 0
            _WRITTEN.pack_into(self._area, 0, 0, 0)

    def _leave(self) -> None:
        self.shared = False


class _Sink(io.BufferedIOBase):
    """The binary layer below sys.stdout or sys.stderr. Closing it does nothing: the next run prints too."""

    def __init__(self, area: RunArea, fd: int) -> None:
        self._area = area
        self._fd = fd

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        content = bytes(data)
        self._area.write(content, self._fd)
        return len(content)

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        pass


def text_stream(area: RunArea, fd: int) -> io.TextIOWrapper:
    """What sys.stdout (fd 1) or sys.stderr (fd 2) becomes."""
    sink = _Sink(area, fd)
    return io.TextIOWrapper(sink, encoding="utf-8", errors="backslashreplace", write_through=True)  # type: ignore[arg-type]


class RawPipe:
    """The reading end of the pipe that descriptors 1 and 2 write to."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)

    def read(self) -> bytes:
        """What is in it now. Never blocks."""
        if not self._poll.poll(0):
            return b""
        try:
            return os.read(self._fd, _PIPE_READ)
        except BlockingIOError:  # the parent was faster
            return b""
