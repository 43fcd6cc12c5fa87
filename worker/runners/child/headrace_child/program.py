"""A program that runs for one run: its output into the run's log, its end, and the end of whatever it has started."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from . import keeper

_PR_SET_CHILD_SUBREAPER = 36
_READ = 65536
_REAP_S = 0.5
RESTORED = (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ)
"""Ignored in this process, which a program that it starts would inherit."""

Sink = Callable[[int, bytes], None]
"""Takes what was written to descriptor 1 or 2."""


@dataclass(frozen=True)
class Program:
    """A command, where and within what it runs; `inherited` are the descriptors that it gets besides its output."""

    command: Sequence[str]
    folder: str
    environment: dict[str, str]
    memory_bytes: int | None = None
    inherited: Sequence[int] = ()


def adopt() -> None:
    """Processes below this one that lose their parent become its children."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def run(program: Program, sink: Sink) -> int:
    """Run it to its end, then end what it has left behind. Its exit status, or minus the number of its signal.

    What it writes to descriptors 1 and 2 is handed over as it comes: in the order of writing for each of them, and
    nearly so for both.
    """
    pipes = {1: os.pipe(), 2: os.pipe()}
    code = os.fork()
    if code == 0:
        _become(program, {fd: pipe[1] for fd, pipe in pipes.items()})
    for _, write in pipes.values():
        os.close(write)
    readers = {pipe[0]: fd for fd, pipe in pipes.items()}
    try:
        _follow(code, readers, sink)
        status = os.waitpid(code, 0)[1]
        _end_rest()
        for reader, fd in readers.items():
            _drain(reader, fd, sink)
    finally:
        for reader in readers:
            os.close(reader)
    return os.waitstatus_to_exitcode(status)


def _become(program: Program, outputs: dict[int, int]) -> None:
    """In the new process: never returns."""
    try:
        os.setsid()  # signals that the program sends to its own group stay there
        os.chdir(program.folder)
        for fd, write in outputs.items():
            os.dup2(write, fd)
        for fd in program.inherited:
            os.set_inheritable(fd, True)  # noqa: FBT003 - takes no keyword
        for number in RESTORED:
            signal.signal(number, signal.SIG_DFL)
        if program.memory_bytes is not None:
            resource.setrlimit(resource.RLIMIT_AS, (program.memory_bytes, program.memory_bytes))
        os.execve(program.command[0], list(program.command), program.environment)  # noqa: S606 - what a runner is for
    except BaseException as error:  # noqa: BLE001 - it must not go on as a second child
        os.write(2, f"{program.command[0]} cannot be executed: {error}\n".encode())
    finally:
        os._exit(127)


def _follow(code: int, readers: dict[int, int], sink: Sink) -> None:
    """Hand over the output until the process has ended."""
    ended = os.pidfd_open(code)
    poller = select.poll()
    for fd in (*readers, ended):
        poller.register(fd, select.POLLIN)
    try:
        while True:
            ready = [fd for fd, _ in poller.poll()]
            for fd in ready:
                if fd in readers:
                    if data := os.read(fd, _READ):
                        sink(readers[fd], data)
                    else:
                        poller.unregister(fd)
            if ended in ready:
                return
    finally:
        os.close(ended)


def _drain(reader: int, fd: int, sink: Sink) -> None:
    os.set_blocking(reader, False)  # a writer that could not be ended may be left
    with contextlib.suppress(BlockingIOError):
        while data := os.read(reader, _READ):
            sink(fd, data)


def _end_rest() -> None:
    """End and reap what is left below this process."""
    if _reap():
        keeper.end_descendants(os.getpid())
        until = time.monotonic() + _REAP_S
        while _reap() and time.monotonic() < until:
            time.sleep(0.001)


def _reap() -> bool:
    """Whether any child is left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True
