"""Runs one server in the foreground: ready once, stopped by SIGTERM or SIGINT, its last words shown when it dies."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from shared.errors import UserError
from shared.events import emit
from shared.services.child import die_with_parent

_LAST_LINES = 10
_LONGEST_LINE = 1024 * 1024
_POLL_S = 0.02


async def _at_once() -> None:
    """What is there to do before the server is stopped: nothing."""


@dataclass(frozen=True)
class Server:
    """A server as a child process. `argv` starts it in its foreground, writing its log to stdout or stderr."""

    process: str
    """Name of our process: redis or broker."""
    argv: list[str]
    log: Path
    """Everything that it writes is appended here."""
    is_ready: Callable[[], bool]
    """Whether it serves already; called until it says so, and may block for a second. Does not raise."""
    ready_fields: dict[str, object]
    """What process.ready says about it."""
    is_problem: Callable[[str], bool]
    """Whether a line of its log, written while it serves, deserves a warning of ours."""
    orphan_signal: signal.Signals
    """What the server gets when our process is killed."""
    environment: dict[str, str] = field(default_factory=dict)
    """Added to ours."""
    before_stop: Callable[[], Awaitable[None]] = _at_once
    """Awaited when the server is to stop and still runs; a second signal cuts it short."""


def run_in_foreground(server: Server) -> int:
    """Start it, wait until it ends or we are told to stop. 0 for an orderly stop.

    Raises UserError with the last lines of its log when it ends by itself.
    """
    return asyncio.run(_supervise(server))


def signalled() -> asyncio.Event:
    """An event that the next SIGTERM or SIGINT sets. To be called inside the event loop."""
    event = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, event.set)
    return event


async def _supervise(server: Server) -> int:
    stop, serves = signalled(), asyncio.Event()
    child = await asyncio.create_subprocess_exec(
        *server.argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=_LONGEST_LINE,
        env={**os.environ, **server.environment},
        process_group=0,  # Ctrl-C in a terminal reaches us alone: we stop the child when it is time
        preexec_fn=die_with_parent(server.orphan_signal),
    )
    ended = asyncio.create_task(_relay(cast("asyncio.StreamReader", child.stdout), server, serves))
    announcing = asyncio.create_task(_announce(server, serves))
    await _first_of(ended, stop.wait())
    announcing.cancel()
    if not ended.done():
        serves.clear()
        emit("process.stopping", process=server.process, reason="signal")
        await _first_of(ended, signalled().wait(), server.before_stop())
        if not ended.done():
            child.terminate()
    last_lines = await ended
    status = await child.wait()
    if not stop.is_set() or status not in {0, -signal.SIGTERM}:
        said = "".join(f"\n  {line}" for line in last_lines)
        raise UserError(
            f"the embedded {server.process} ended with status {status}{said}",
            hint=f"its log is {server.log}",
            exit_status=status,
        )
    emit("process.stopped", process=server.process)
    return 0


async def _first_of(ended: asyncio.Task[deque[str]], *others: Awaitable[object]) -> None:
    """Wait for the server's end or for whatever comes first of the others."""
    tasks = [asyncio.ensure_future(other) for other in others]
    await asyncio.wait({ended, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


async def _announce(server: Server, serves: asyncio.Event) -> None:
    while not await asyncio.to_thread(server.is_ready):  # noqa: ASYNC110 - no server tells us by itself
        await asyncio.sleep(_POLL_S)
    serves.set()
    emit("process.ready", process=server.process, **server.ready_fields)


async def _relay(lines: asyncio.StreamReader, server: Server, serves: asyncio.Event) -> deque[str]:
    """Carry its log to the file and its problems to ours until it ends; gives the last lines."""
    last: deque[str] = deque(maxlen=_LAST_LINES)
    with server.log.open("a", encoding="utf-8") as log:
        async for raw in lines:
            line = raw.decode(errors="replace").rstrip()
            log.write(line + "\n")
            log.flush()
            last.append(line)
            if serves.is_set() and server.is_problem(line):
                emit("library.warning", logger=server.process, text=line)
    return last
