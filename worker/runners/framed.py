"""A runner whose child speaks frames: everything but the command that starts it.

A language whose child answers in this way derives from `FramedRunner`; another one fits `worker.runners.base.Runner`
by itself. Frames to the child: {"id", "event", "context", "form"?, "environment"?} and the payload. From the child,
first {"ready": true, "pid"} or {"ready": false, "error": {…}}, then one answer per run, in order: {"id", "ok",
"error"?, "log"?, "dropped"?, "raw"?, "args"?, "labels"?, "messages"?} and the JSON of the result.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from shared.errors import ConfigError, InternalError
from worker.runners.base import (
    MIB,
    Form,
    Message,
    RunCall,
    RunDone,
    RunErrorInfo,
    RunEvent,
    RunnerBroken,
    RunnerDied,
    RunnerLimits,
    RunnerReady,
    RunnerSettings,
    ScriptFiles,
    child_environment,
    death_cause,
    looks_out_of_memory,
    run_log,
    signal_name,
)
from worker.runners.frames import FrameReader, encode_frame
from worker.runners.link import ChildFds, Link
from worker.runners.process import RawOutput

_RECEIVE = 262144
_EXIT_S = 1.0  # from the end of a child's socket to the end of the child
_LAST_READS = 64  # of a dead child's pipe, which a process that left the group may go on filling


class _CallHead(msgspec.Struct, omit_defaults=True):
    id: str
    event: dict[str, Any] | None
    context: dict[str, Any]
    form: Form = "windmill"
    environment: dict[str, str] = {}


class _Answer(msgspec.Struct):
    id: str = ""
    ok: bool = True
    ready: bool = True
    pid: int | None = None
    error: RunErrorInfo | None = None
    log: str = ""
    dropped: int = 0
    raw: str = ""  # bytes as Latin-1
    args: str | None = None
    labels: tuple[str, ...] = ()
    messages: tuple[Message, ...] = ()


_encode_head = msgspec.json.Encoder().encode
_decode_answer = msgspec.json.Decoder(_Answer).decode


class FramedRunner:
    """One child for one script version: a `worker.runners.base.Runner`.

    What the script writes between two runs opens the log of the next one.
    """

    def __init__(self, script: ScriptFiles, limits: RunnerLimits, settings: RunnerSettings) -> None:
        self._script = script
        self._limits = limits
        self._settings = settings
        self._link: Link | None = None
        self._ready = False
        self._pid: int | None = None
        self._broken: RunErrorInfo | None = None
        self._unanswered: deque[str] = deque()
        self._answered = 0
        self._undelivered: list[RunEvent] = []
        self._shared = ""
        self._outgoing = memoryview(b"")
        self._output = RawOutput(limits.max_output_bytes)
        self._poller = select.poll()
        # JSON may take six bytes for one, and an answer holds a log, arguments, messages, and an error.
        max_head = 6 * limits.max_output_bytes + 8 * limits.max_result_bytes + 4 * MIB
        self._reader = FrameReader(max_head, limits.max_result_bytes)

    def _command(self, fds: ChildFds) -> list[str]:
        """The command that becomes the child, told which descriptors it inherits."""
        raise NotImplementedError

    @property
    def pid(self) -> int | None:
        """Process id of the child: of the process that executes the code once the script is loaded, until then of its
        keeper. None before `start` and after its end.
        """
        return (self._pid or self._link.process.pid) if self._link is not None else None

    @property
    def current(self) -> str | None:
        """The run that is executing, as far as the answers read so far tell; None when none is."""
        return self._unanswered[0] if self._ready and self._unanswered else None

    def output(self) -> tuple[bytes, bytes]:
        """What the run that executes has printed so far, as its log will have it: through the language's own streams,
        and past them. Both are empty where it cannot be told whose output it is.
        """
        link = self._link
        if link is None or link.begun() != self._answered + 1:
            return b"", b""
        printed, _ = link.printed()
        return (printed, self._output.kept) if link.begun() == self._answered + 1 else (b"", b"")

    def start(self) -> None:
        """Start the child; returns at once. Raises ConfigError when the interpreter cannot be started."""
        environment = child_environment(os.environ, self._settings.environment)
        try:
            link = Link.start(self._command, environment, self._limits.max_output_bytes)
        except OSError as error:
            raise ConfigError(
                f"the interpreter {self._settings.interpreter} cannot be started: {error}",
                hint="set the worker's interpreter for user code to one that exists",
            ) from error
        self._link = link
        self._poller.register(link.socket, select.POLLIN)
        self._poller.register(link.process.raw_fd, select.POLLIN)

    def send(self, calls: Sequence[RunCall]) -> None:
        """Queue runs. Never blocks: what the child does not take yet is written while polling."""
        if self._broken is not None:
            self._undelivered += [RunDone(call.run_id, ok=False, error=self._broken) for call in calls]
            return
        if self._link is None:
            raise InternalError("runs were sent to a runner that is not running", script=self._script.entry)
        frames = [bytes(self._outgoing)]
        for call in calls:
            if call.shared != self._shared:
                self._share(self._link, call.shared)
            head = _CallHead(call.run_id, call.event, call.context, call.form, call.environment)
            frames.append(encode_frame(_encode_head(head), call.payload))
            self._unanswered.append(call.run_id)
        self._outgoing = memoryview(b"".join(frames))
        self._flush(self._link)

    def _share(self, link: Link, folder: str) -> None:
        """What the next run finds as `./shared`."""
        self._shared = folder
        path = Path(link.process.folder) / "shared"
        with contextlib.suppress(OSError):  # the script has put something of its own there
            if path.is_symlink():
                path.unlink()
            if folder:
                path.symlink_to(folder)

    def poll(self, timeout_s: float) -> list[RunEvent]:
        """Move bytes both ways until an event is there or the time is over; the events in their order."""
        until = time.monotonic() + timeout_s
        events, self._undelivered = self._undelivered, []
        while not events and self._link is not None:
            events = self._turn(self._link, max(0.0, until - time.monotonic()))
            if not events and time.monotonic() >= until:
                break
        return events

    def terminate(self) -> None:
        """SIGTERM the process that executes the code, which may end in its own way. What comes of it, `poll` tells."""
        if (pid := self.pid) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)

    def kill(self) -> list[RunEvent]:
        """SIGKILL the child and all that it started: answers that had already arrived, then RunnerDied.

        Empty when the runner was over before.
        """
        link = self._link
        if link is None:
            return []
        alive = not link.process.wait_exit(0)
        link.process.kill()
        link.process.wait_exit(_EXIT_S)
        events: list[RunEvent] = []
        while self._link is link and not self._reader.broken and (data := _read(link)):
            events += self._answers(self._reader.feed(data))
        if self._link is link:
            events.append(self._bury(link, killed=alive))
        return events

    def close(self, grace_s: float = 2.0) -> None:
        """End an idle child: it may run its exit handlers for `grace_s`, then it is killed. Idempotent."""
        if self._link is None:
            return
        link, self._link = self._link, None
        link.socket.shutdown(socket.SHUT_WR)
        link.process.wait_exit(grace_s)
        link.end()

    def _flush(self, link: Link) -> None:
        try:
            sent = link.socket.send(self._outgoing)
        except BlockingIOError:
            sent = 0
        except ConnectionError:  # the child is gone: the next poll says so
            sent = len(self._outgoing)
        self._outgoing = self._outgoing[sent:]
        self._poller.modify(link.socket, select.POLLIN | select.POLLOUT if self._outgoing else select.POLLIN)

    def _turn(self, link: Link, timeout_s: float) -> list[RunEvent]:
        ready = dict(self._poller.poll(timeout_s * 1000))
        state = ready.pop(link.socket.fileno(), 0)
        if state & select.POLLOUT:
            self._flush(link)
        if state & ~select.POLLOUT:
            return self._receive(link)
        # Only now: as long as answers come, each takes along what its own run wrote.
        return self._drain(link) if ready else []

    def _drain(self, link: Link) -> list[RunEvent]:
        data, begun = link.read_output()
        events: list[RunEvent] = []
        while self._link is link and self._answered + 1 < begun and (received := _read(link)):
            events += self._accept(link, received)  # answers that were sent before that run began
        if data is None:
            self._poller.unregister(link.process.raw_fd)
        else:
            self._output.add(data)
        return events

    def _receive(self, link: Link) -> list[RunEvent]:
        data = _read(link)
        if data is None:
            return []
        if not data:
            self._reader.broken = not link.process.wait_exit(_EXIT_S)
            return [self._bury(link)]
        return self._accept(link, data)

    def _accept(self, link: Link, data: bytes) -> list[RunEvent]:
        events = self._answers(self._reader.feed(data))
        if self._reader.broken:
            link.process.kill()
            events.append(self._bury(link))
        return events

    def _answers(self, frames: list[tuple[bytes, bytes]]) -> list[RunEvent]:
        events: list[RunEvent] = []
        for head, body in frames:
            try:
                answer = _decode_answer(head)
            except msgspec.DecodeError:
                self._reader.broken = True
                break
            if not self._ready:
                events += self._loaded(answer)
            elif self._unanswered and answer.id == self._unanswered[0]:
                self._unanswered.popleft()
                self._answered += 1
                events.append(self._done(answer, body))
            else:
                self._reader.broken = True
                break
        return events

    def _loaded(self, answer: _Answer) -> list[RunEvent]:
        if answer.error is None:
            self._ready, self._pid = True, answer.pid
            return [RunnerReady()]
        self._broken = answer.error
        log = self._log(answer)
        self.close()
        unanswered = [RunDone(run_id, ok=False, error=answer.error) for run_id in self._unanswered]
        self._unanswered.clear()
        return [RunnerBroken(answer.error, log), *unanswered]

    def _done(self, answer: _Answer, body: bytes) -> RunDone:
        log = self._log(answer) if answer.log or answer.raw or self._output else ""
        arguments = None if answer.args is None else answer.args.encode()
        return RunDone(answer.id, answer.ok, body or None, answer.error, log, arguments, answer.labels, answer.messages)

    def _log(self, answer: _Answer) -> str:
        self._output.add(answer.raw.encode("latin-1", "replace"))
        raw, dropped = self._output.take()
        return run_log(answer.log.encode(), raw, answer.dropped + dropped, self._limits.max_output_bytes)

    def _bury(self, link: Link, *, killed: bool = False) -> RunnerDied:
        self._link = None
        for _ in range(_LAST_READS):
            if not (data := link.process.read_output()):
                break
            self._output.add(data)
        printed, dropped = link.printed()
        current = self.current if link.begun() > self._answered else None
        returncode = link.end()
        raw, raw_dropped = self._output.take()
        log = run_log(printed, raw, dropped + raw_dropped, self._limits.max_output_bytes)
        broken = self._reader.broken
        limited = self._limits.memory_bytes is not None
        out_of_memory = not (killed or broken) and looks_out_of_memory(returncode, log, limited=limited)
        return RunnerDied(
            returncode=returncode,
            signal=signal_name(returncode),
            cause=death_cause(returncode, killed=killed, broken=broken, out_of_memory=out_of_memory),
            current=current,
            unanswered=tuple(self._unanswered),
            log=log,
            stderr_tail=self._output.tail,
            killed=killed,
            out_of_memory=out_of_memory,
        )


def _read(link: Link) -> bytes | None:
    """What the child has sent: None when nothing is there now, b"" at its end."""
    try:
        return link.socket.recv(_RECEIVE)
    except BlockingIOError:
        return None
    except ConnectionError:
        return b""
