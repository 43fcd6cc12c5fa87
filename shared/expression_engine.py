"""JavaScript in a process of its own: what hangs, crashes or eats memory there is ended there."""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec

from shared.errors import ExpressionError
from shared.expression_child import CALL, CALL_PURE, COMPILE, REPLY, REQUEST

CHILD = Path(__file__).with_name("expression_child.py")
PASSED_ON = ("PATH", "LD_LIBRARY_PATH")
"""What an interpreter may need of our environment; it may hold secrets."""
WAIT_MS = 30_000
"""The kernel ends an evaluation by processor time; this is for a machine that gives it none."""


class Limits(msgspec.Struct, frozen=True):
    """What one evaluation may use: seconds of processor time, and bytes on top of twice the size of its variables."""

    time_s: float = 0.1
    memory: int = 32 * 1024 * 1024


class Engine:
    """Evaluates functions in JavaScript, one at a time; any thread may ask.

    The process is started when it is first needed, and again when it has died. It ends with this one.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)

    def compile(self, source: str, limits: Limits) -> None:
        """Raises ExpressionError, with what the engine says of the source, if it is not JavaScript."""
        self._ask(COMPILE, source, b"", limits)

    def call(self, source: str, variables: bytes, limits: Limits, *, pure: bool) -> bytes:
        """The result of the function, as JSON; `variables`, an object in JSON, is its argument.

        One that is `pure` cannot change its world, and gets one in which others have been.

        Raises ExpressionError: what was thrown or why there is no result, in the engine's words.
        """
        return self._ask(CALL_PURE if pure else CALL, source, variables, limits)

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _ask(self, action: int, source: str, variables: bytes, limits: Limits) -> bytes:
        blob = source.encode(errors="replace")
        request = REQUEST.pack(action, len(blob), len(variables), limits.time_s, limits.memory) + blob + variables
        with self._lock:
            reply = self._exchange(request)
            if reply is None and not self._ran_out_of_time():
                reply = self._exchange(request)  # somebody has killed it: that is not the expression's fault
            if reply is None:
                late = self._ran_out_of_time()
                raise ExpressionError(
                    "InternalError: interrupted" if late else "the engine dies of it, or does not start"
                )
        ok, result = reply
        if not ok:
            raise ExpressionError(result.decode())
        return result

    def _exchange(self, request: bytes) -> tuple[bool, bytes] | None:
        """The answer; None: the process has died."""
        try:
            answer = self._send(request)
        except OSError:
            answer = None
        except BaseException:  # interrupted half-way: its answer must not be taken for the next one's
            self._end()
            raise
        if answer is None:
            self._end()
        return answer

    def _send(self, request: bytes) -> tuple[bool, bytes] | None:
        requests, replies = self._started()
        requests.write(request)
        requests.flush()
        ready = select.poll()
        ready.register(replies, select.POLLIN)
        head = replies.read(REPLY.size) if ready.poll(WAIT_MS) else b""
        if len(head) < REPLY.size:
            return None
        ok, length = REPLY.unpack(head)
        result = replies.read(length)
        return (ok, result) if len(result) == length else None

    def _started(self) -> tuple[Any, Any]:
        if self._process is None or self._process.returncode is not None:
            self._process = None
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-I", CHILD],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={name: os.environ[name] for name in PASSED_ON if name in os.environ},
                start_new_session=True,  # signals for our group are not for it: it ends when its stdin does
            )
        return self._process.stdin, self._process.stdout

    def _ran_out_of_time(self) -> bool:
        return self._process is not None and self._process.returncode == -signal.SIGPROF

    def _end(self) -> None:
        process = self._process
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.2)  # what it died of, if it has
        if process.returncode is None:
            process.kill()
            process.wait()
