"""What a runner is: the contract between the worker's loop and one long-lived child process for one script version.

A runner executes the runs that it is sent strictly in the order of sending, one at a time. So the first run without an
answer is the one that executes, and whatever stands behind it has not been started. A new language is one more
module beside this one with a class that fits `Runner`, entered in `worker.runners.RUNNERS`; the suite in
tests/contract says what it must do.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec

from shared.definitions import Isolation, Language
from shared.errors import ConfigError

MIB = 1024 * 1024
TAIL_BYTES = 4096

INHERITED = ("PATH", "HOME", "LANG", "TZ", "TMPDIR")
WITHHELD = ("REDIS_URL", "HEADRACE_")

Form = Literal["windmill", "base64", "text", "json", "arguments"]


class ScriptFiles(msgspec.Struct, frozen=True):
    """A script version on disk, and what its deployment says about executing it.

    `root` and `entry` are absolute paths, `entry` lies inside `root`. `path` is the script's in the workspace. Limits
    that are None are the worker's own. `fresh`: a process of its own for each run. `function` is what is called,
    `parameters` are its names in order.
    `lock` are the packages that it needs, `dependencies` the folders in which those are, once they are installed.
    """

    version: str
    root: str
    entry: str
    has_preprocessor: bool = False
    path: str = ""
    language: Language = "python3"
    isolation: Isolation = "warm"
    memory_mib: int | None = None
    output_bytes: int | None = None
    parameters: tuple[str, ...] = ()
    lock: str = ""
    dependencies: tuple[str, ...] = ()
    function: str = "main"


class RunnerLimits(msgspec.Struct, frozen=True):
    """What one run may use.

    `timeout_s` is for whoever calls `poll` and `kill`: a runner does not watch the clock. `memory_bytes` bounds the
    child's address space. Of a log the first `max_output_bytes` are kept and the rest is counted; a result whose JSON
    is longer than `max_result_bytes` fails the run.
    """

    timeout_s: float | None = None
    memory_bytes: int | None = None
    max_output_bytes: int = MIB
    max_result_bytes: int = 8 * MIB


class RunCall(msgspec.Struct, frozen=True, gc=False):
    """One run to execute.

    `event` is `mqtt_event(…)` when the script has a preprocessor, else None; the child adds the payload to it.
    `context` is what `headrace.run` shows: idempotency_key, attempt, trace, trigger, topic, qos, captures, received_at.
    `form` says what becomes of the payload where no preprocessor gets it; at `arguments` it is no payload but a JSON
    object with the arguments of `main`. `environment` are the variables that this run finds and the next one does not.
    `shared` is a folder that it finds as `./shared` ('' none); such a call is sent when no other is on its way.
    """

    run_id: str
    payload: bytes
    event: dict[str, Any] | None = None
    context: dict[str, Any] = {}
    form: Form = "windmill"
    environment: dict[str, str] = {}
    shared: str = ""


class RunErrorInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error of user code as Windmill stores it.

    `stack` starts at the user's own lines, with paths relative to the workspace; `extra` holds the exception's
    attributes that JSON can carry. `step_id` is the step of a flow in which it has happened.
    """

    name: str
    message: str
    stack: str = ""
    extra: dict[str, Any] | None = None
    step_id: str | None = None


class Message(msgspec.Struct, frozen=True, gc=False):
    """What a run wants published when it has succeeded. `broker` None: that of its trigger.

    `is_reply`: it answers the message that the run is for, and takes along its correlation data. `expires_in_s`,
    and all that is named like a property of MQTT 5, needs a broker that speaks it.
    """

    topic: str
    payload: bytes
    qos: Literal[0, 1] = 1
    retain: bool = False
    broker: str | None = None
    is_reply: bool = False
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    user_properties: tuple[tuple[str, str], ...] = ()
    expires_in_s: int | None = None


class RunDone(msgspec.Struct, frozen=True, tag=True):
    """The run was executed to its end.

    `result_json` is None when the script returned None or raised. A script that returns `wm_failure` gives both an
    error and a result. `arguments_json` is what a preprocessor made of the event.
    """

    run_id: str
    ok: bool
    result_json: bytes | None = None
    error: RunErrorInfo | None = None
    log: str = ""
    arguments_json: bytes | None = None
    labels: tuple[str, ...] = ()
    messages: tuple[Message, ...] = ()


class RunnerReady(msgspec.Struct, frozen=True, tag=True):
    """The script is loaded. Before this event no run has started, whatever has been sent."""


class RunnerBroken(msgspec.Struct, frozen=True, tag=True):
    """The script cannot be loaded. Every run sent, before or after, is answered by a RunDone with this error."""

    error: RunErrorInfo
    log: str = ""


class RunnerDied(msgspec.Struct, frozen=True, tag=True):
    """The child is gone and reaped, with all that it had started. The last event of a runner.

    `current` is the run that had begun and has no answer; None says that no user code of a run is cut off.
    `unanswered` are all runs without an answer in the order of sending, `current` first; those behind it have not
    begun. `cause` is a sentence for people, `log` what `current` had written, `stderr_tail` the end of the raw
    output; `killed` says that `kill` ended it, `out_of_memory` is a guess.
    """

    returncode: int
    signal: str | None
    cause: str
    current: str | None
    unanswered: tuple[str, ...]
    log: str = ""
    stderr_tail: str = ""
    killed: bool = False
    out_of_memory: bool = False


RunEvent = RunDone | RunnerReady | RunnerBroken | RunnerDied


class RunnerSettings(msgspec.Struct, frozen=True):
    """How children are started on this machine.

    `interpreter` runs user code, `dependencies` are folders with packages for every script, behind its own,
    `environment` is added to what a child gets anyway. In `cache` (an absolute path, '' for none) a runner keeps what
    it can get again.
    """

    interpreter: str
    dependencies: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    cache: str = ""


class Runner(Protocol):
    """One child process for one script version, driven by one thread.

    The thread that calls `start` must outlive the runner: the child dies with it.
    """

    @property
    def pid(self) -> int | None:
        """Process id of the child: of the process that executes the code once the script is loaded, until then of its
        keeper. None before `start` and after its end.
        """

    @property
    def current(self) -> str | None:
        """The run that is executing, as far as the answers read so far tell; None when none is."""

    def output(self) -> tuple[bytes, bytes]:
        """What the run that executes has printed so far, as its log will have it: through the language's own streams,
        and past them. Both are empty where it cannot be told whose output it is.
        """

    def start(self) -> None:
        """Start the child; returns at once. RunnerReady or RunnerBroken follows from `poll`."""

    def send(self, calls: Sequence[RunCall]) -> None:
        """Queue runs. Never blocks: what the child does not take yet is written while polling."""

    def poll(self, timeout_s: float) -> list[RunEvent]:
        """Move bytes both ways until an event is there or the time is over; the events in their order."""

    def terminate(self) -> None:
        """SIGTERM the process that executes the code, which may end in its own way. What comes of it, `poll` tells."""

    def kill(self) -> list[RunEvent]:
        """SIGKILL the child and all that it started: answers that had already arrived, then RunnerDied.

        Empty when the runner was over before.
        """

    def close(self, grace_s: float = 2.0) -> None:
        """End an idle child: it may run its exit handlers for `grace_s`, then it is killed. Idempotent."""


def child_environment(ours: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """The environment of user code: an allow-list of ours and what the settings add.

    Raises ConfigError when the settings would hand over the address of Redis or one of Headrace's own variables.
    """
    withheld = [name for name in given if name.startswith(WITHHELD)]
    if withheld:
        raise ConfigError(
            f"{', '.join(withheld)} must not be given to user code",
            hint="choose another name for the variable",
            names=withheld,
        )
    kept = {name: value for name, value in ours.items() if name in INHERITED or name.startswith("LC_")}
    return {**kept, **given}


def run_log(captured: bytes, raw: bytes, dropped: int, limit: int) -> str:
    """The log of a run: what went through sys.stdout and sys.stderr, then what went past them to descriptors 1 and 2.

    At most `limit` bytes are kept; the last line then says how many were dropped.
    """
    whole = captured + raw
    kept = whole[:limit]
    dropped += len(whole) - len(kept)
    text = kept.decode("utf-8", "replace")
    return f"{text}\n[log truncated: {dropped} bytes dropped]\n" if dropped else text


def signal_name(returncode: int) -> str | None:
    """`SIGSEGV` for -11; None when the process was not ended by a signal."""
    if returncode >= 0:
        return None
    try:
        return signal.Signals(-returncode).name
    except ValueError:
        return f"signal {-returncode}"


def looks_out_of_memory(returncode: int, output: str, *, limited: bool) -> bool:
    """A guess about a child that ended by itself: a SIGKILL was the kernel's, and under a limit allocators say so."""
    if returncode == -signal.SIGKILL:
        return True
    said = output[-TAIL_BYTES:].lower()
    return limited and any(word in said for word in ("memoryerror", "out of memory", "cannot allocate memory"))


def death_cause(returncode: int, *, killed: bool, broken: bool, out_of_memory: bool) -> str:
    """Why the child is gone, as a sentence without its subject."""
    if killed:
        return "was killed"
    if broken:
        return "was killed because the script wrote to or closed the runner's own socket"
    if name := signal_name(returncode):
        return f"was ended by {name}" + (", probably out of memory" if out_of_memory else "")
    return f"ended itself with exit status {returncode}" + (", probably out of memory" if out_of_memory else "")
