"""The process between a worker and a process that runs user code: whatever that code starts ends with it.

The keeper is what the worker starts. It adopts every process below it that loses its parent (prctl(2),
PR_SET_CHILD_SUBREAPER), so that none can leave by making a session of its own. It ends them all when the code's process
has ended, and when the worker has, however that was killed. It then ends as the code's process did.
"""
# ruff: noqa: PTH208, PTH123 - as in `isolation`

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
from collections.abc import Iterator
from typing import NoReturn

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_PASSES = 100
_REAP_S = 0.1
_REAPS = 5
_DEAD = b"ZX"


def keep(parent: int) -> None:
    """Fork: this returns in the new process, which leads a session of its own. The one that called never returns.

    No process gains privileges from here on. Ends at once if `parent` is not our parent (any more).
    """
    prctl = ctypes.CDLL(None).prctl
    signals = {signal.SIGTERM, signal.SIGCHLD}
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)
    prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    adopt_orphans()
    keeper = os.getpid()
    code = os.fork()
    if code:
        prctl(_PR_SET_NAME, b"headrace-keeper", 0, 0, 0)
        status = _watch(code, signals)
        end_like(1 if status is None else os.waitstatus_to_exitcode(status))
    os.setsid()
    prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != keeper:
        os._exit(1)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)


def end_descendants(root: int) -> bool:
    """SIGKILL everything below the process `root`, which stays. First they are stopped: none starts another one.

    False: there was nothing.
    """
    stopped: set[int] = set()
    for _ in range(_PASSES):
        found = _descendants(root) - stopped
        if not found:
            break
        _signal(found, signal.SIGSTOP)
        stopped |= found
    _signal(stopped, signal.SIGKILL)
    return bool(stopped)


def children(parent: int) -> list[int]:
    """The children of a process, with those that only wait to be reaped."""
    return [pid for pid, _, above in _processes() if above == parent]


def adopt_orphans() -> None:
    """From now on processes below this one that lose their parent become its children."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _watch(code: int, signals: set[signal.Signals]) -> int | None:
    """Wait for the end of the code's process or of the worker, then end and reap the rest. The code's status."""
    for fd in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError):  # the one that was open for listing
            os.close(fd)
    status: int | None = None
    alone = False
    while status is None and signal.sigwait(signals) == signal.SIGCHLD:
        status, alone = _reap(code)
    if not alone:
        end_descendants(os.getpid())
    for _ in range(_REAPS):
        if alone:
            break
        ended, alone = _reap(code)
        status = ended if status is None else status
        if not alone:
            signal.sigtimedwait({signal.SIGCHLD}, _REAP_S)
    return status


def _reap(code: int) -> tuple[int | None, bool]:
    """The status of the code's process if it has ended; and whether no child is left."""
    status = None
    try:
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == code:
                status = ended[1]
    except ChildProcessError:
        return status, True
    return status, False


def end_like(returncode: int) -> NoReturn:
    """End this process as another one has: with its exit status, or, at minus a number, by that signal."""
    if returncode < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with contextlib.suppress(OSError):  # SIGKILL has no handler
            signal.signal(-returncode, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {-returncode})
        os.kill(os.getpid(), -returncode)
    os._exit(returncode & 0xFF)


def _descendants(root: int) -> set[int]:
    """The living processes below `root`."""
    children_of: dict[int, list[int]] = {}
    for pid, state, parent in _processes():
        if state not in _DEAD:
            children_of.setdefault(parent, []).append(pid)
    found: set[int] = set()
    waiting = [root]
    while waiting:
        below = [pid for pid in children_of.get(waiting.pop(), ()) if pid not in found]
        found.update(below)
        waiting += below
    return found


def _processes() -> Iterator[tuple[int, bytes, int]]:
    """Every process with its state and its parent."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                state, parent = file.read().rpartition(b")")[2].split()[:2]
                yield int(name), state, int(parent)


def _signal(pids: set[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def main() -> None:
    """`python -I -S keeper.py <worker's pid> <command>…`: keep a command of any language."""
    import sys  # noqa: PLC0415 - of no use to a module that is imported

    keep(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - what the worker asked for


if __name__ == "__main__":
    main()
