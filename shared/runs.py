"""The life of a run, as a table; and the record that a run carries from placement to history.

The table is the rule: a Lua verb makes a transition only if its cell is here, and an absent cell is an error.
RQ's own status is a function of ours (`RQ_STATUS`), so that RQ's tools tell the same story.
"""

from __future__ import annotations

from typing import Final

import msgspec

from shared import keys
from shared.envelope import Envelope, decode_envelope
from shared.errors import EnvelopeError

LIVE: Final = ("queued", "scheduled", "suspended", "running")
TERMINAL: Final = ("filtered", "expired", "succeeded", "failed", "lost", "interrupted", "cancelled")

_WRITTEN_OFF: Final = {
    "finish late": "succeeded",
    "fail late": "failed",
    "fail late, to be tried again": "scheduled",
    "stop late": "cancelled",
}

# state → {what happens: next state}. `claim` keeps `queued`: a claim is not a start.
TRANSITIONS: Final[dict[str, dict[str, str]]] = {
    "new": {
        "place": "queued",
        "suspend": "suspended",
        "filter": "filtered",
        "expire": "expired",
        "create": "queued",
        "create for later": "scheduled",
        "handle": "queued",
    },
    "queued": {
        "claim": "queued",
        "claim too late": "expired",
        "start": "running",
        "sweep QoS 0": "lost",
        "cancel": "cancelled",
    },
    "scheduled": {"promote": "queued", "cancel": "cancelled"},
    "suspended": {"resume": "queued", "discard": "cancelled", "cancel": "cancelled"},
    "running": {
        "finish": "succeeded",
        "fail": "failed",
        "fail, to be tried again": "scheduled",
        "stop": "cancelled",
        "wait": "scheduled",
        "end interrupted": "interrupted",
        "crash of a flow": "queued",
        "crash QoS 0": "lost",
        "crash QoS 1": "queued",
        "crash QoS 1, last": "failed",
        "crash QoS 2": "interrupted",
    },
    "lost": {**_WRITTEN_OFF, "recover": "succeeded", "requeue": "queued"},
    "interrupted": {**_WRITTEN_OFF, "recover": "succeeded", "retry": "queued", "requeue": "queued"},
    "failed": {"recover": "succeeded", "retry": "queued", "requeue": "queued"},
    "succeeded": {},
    "cancelled": {},
    "filtered": {},
    "expired": {},
}


class Cause(msgspec.Struct, frozen=True):
    """Who makes a transition, by which Lua verbs, and when."""

    who: str
    verbs: tuple[str, ...]
    when: str


_LATE = "of a run that was written off, by the worker that had started it and was only stalled"

CAUSES: Final = {
    "place": Cause("dispatch", ("place",), "a message is for this runnable"),
    "suspend": Cause("dispatch", ("place",), "the same, and the trigger is suspended at that moment"),
    "filter": Cause("dispatch", ("place",), "the trigger's filters refuse the message; there is no record"),
    "expire": Cause("dispatch", ("place",), "the message has expired in the inbox; there is no record"),
    "create": Cause("console", ("create_runs", "flow_fan"), "somebody, or another run, asks for it"),
    "create for later": Cause("console", ("create_runs",), "the same, not before a time"),
    "handle": Cause("any worker", ("create_handler",), "a run with an error handler has ended badly"),
    "claim": Cause("worker", ("claim",), "it takes runs from the queue"),
    "claim too late": Cause("worker", ("claim",), "the message has expired in the queue, and its code has never begun"),
    "start": Cause("worker", ("start",), "the code is about to begin"),
    "promote": Cause("any worker", ("promote", "finish"), "its time has come, or what it waits for has ended"),
    "resume": Cause("a person", ("resume",), "it is released, with the version of then or of now"),
    "discard": Cause("a person", ("discard",), "it is not to run at all"),
    "cancel": Cause("a person or a run", ("cancel", "sweep"), "at once; what RQ's tools cancel, by the next sweep"),
    "finish": Cause("worker", ("finish",), "the code has returned"),
    "fail": Cause("worker", ("finish",), "the code has raised or timed out, or cannot be executed"),
    "fail, to be tried again": Cause("worker", ("finish",), "the same, and the retry policy has a retry left"),
    "stop": Cause("worker", ("finish",), "it was cancelled while it ran"),
    "wait": Cause("worker", ("flow_park", "flow_fan"), "a flow sleeps, waits for a retry, or for its parallel parts"),
    "end interrupted": Cause("worker", ("finish",), "a step of a flow was cut off at QoS 2, and the flow cannot go on"),
    "crash of a flow": Cause(
        "worker, or another's sweep", ("finish", "sweep"), "the same, at QoS 1 and 2: a flow goes on where it was"
    ),
    "crash QoS 0": Cause("worker, or another's sweep", ("finish", "sweep"), "the interpreter or the worker has died"),
    "crash QoS 1": Cause("worker, or another's sweep", ("finish", "sweep"), "the same, fewer than `max_crashes` times"),
    "crash QoS 1, last": Cause("worker, or another's sweep", ("finish", "sweep"), "the same, for the last time"),
    "crash QoS 2": Cause("worker, or another's sweep", ("finish", "sweep"), "the interpreter or the worker has died"),
    "sweep QoS 0": Cause("any worker's sweep", ("sweep",), "the worker that had claimed it has died before the start"),
    "finish late": Cause("worker", ("finish",), f"as `finish`, {_LATE}"),
    "fail late": Cause("worker", ("finish",), f"as `fail`, {_LATE}"),
    "fail late, to be tried again": Cause("worker", ("finish",), f"as `fail, to be tried again`, {_LATE}"),
    "stop late": Cause("worker", ("finish",), f"as `stop`, {_LATE}"),
    "recover": Cause("worker", ("finish",), "its error handler has returned `recover: true`"),
    "retry": Cause("a person", ("retry",), "it is re-driven"),
    "requeue": Cause("a person, by RQ's tools", ("claim",), "the same: adopted when a worker claims it"),
}
"""What happens, by the words of TRANSITIONS."""

RQ_STATUS: Final = {
    "queued": "queued",
    "scheduled": "scheduled",
    "suspended": "deferred",
    "running": "started",
    "succeeded": "finished",
    "failed": "failed",
    "lost": "failed",
    "interrupted": "failed",
    "cancelled": "canceled",
    "expired": "canceled",
}
RQ_STOPPED: Final = "stopped"
"""RQ's status of what was cancelled while it ran."""

RQ_REGISTRY: Final = {
    "scheduled": keys.RQ_SCHEDULED,
    "suspended": keys.RQ_DEFERRED,
    "running": keys.RQ_STARTED,
    "succeeded": keys.RQ_FINISHED,
    "failed": keys.RQ_FAILED,
    "lost": keys.RQ_FAILED,
    "interrupted": keys.RQ_FAILED,
    "cancelled": keys.RQ_CANCELED,
    "expired": keys.RQ_CANCELED,
}
"""The registry of RQ that a run is in, and no other; a queued one is in the queue, or in a worker's claims."""

RQ_FUNCTION = "headrace.run"


class RunSpec(msgspec.Struct, frozen=True, array_like=True):
    """What a run is, decided when it was made and never changed: the argument of its RQ job.

    A run that no message made has `args`, the arguments of `main` as a JSON object; its `trigger` and `envelope` are
    empty, and `origin` says who made it. `parent` is the run that started it, `root` the first of that line, `cause`
    the version of the trigger whose message was at the beginning of it all, '' where none was. `trace` is what it is
    below where its message does not say: traceparent and tracestate.

    `part`: it carries out a part of the flow of its parent, `<fan>/<number>`; `args` are its iteration then.
    """

    trigger: str
    runnable: str
    runnable_version: str
    idempotency_key: str
    captures: dict[str, str]
    envelope: bytes
    args: bytes | None = None
    origin: str = ""
    parent: str | None = None
    root: str | None = None
    is_flow: bool = False
    cause: str = ""
    trace: tuple[str, ...] = ()
    part: str = ""

    def cause_by(self, message: Envelope | None) -> str:
        """The version of the trigger that is behind the run, whose message this is if it has one."""
        return message.trigger_version if message else self.cause

    def message(self) -> Envelope | None:
        """The message that the run is for, None where none made it."""
        return None if self.args is not None else decode_envelope(self.envelope)


class _JobData(msgspec.Struct, frozen=True, array_like=True):
    """RQ's (function, instance, args, kwargs)."""

    function: str
    instance: None
    args: tuple[RunSpec]
    kwargs: dict[str, object]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_JobData)
ZLIB_MAGIC = 0x78


def encode_job(spec: RunSpec) -> bytes:
    """The `data` field of the RQ job: msgpack of RQ's call tuple."""
    return _encoder.encode(_JobData(RQ_FUNCTION, None, (spec,), {}))


def decode_job(data: bytes) -> RunSpec:
    """Read the run from its RQ job, also when RQ itself has saved it (then it is compressed).

    Only our own shape is accepted: whatever else stands in the job is an `EnvelopeError`, and nothing is executed.
    """
    if data[:1] == bytes((ZLIB_MAGIC,)):
        import zlib  # noqa: PLC0415 - only jobs that RQ's own tools have saved

        try:
            data = zlib.decompress(data)
        except zlib.error as error:
            raise EnvelopeError(f"the job's data is damaged: {error}", reason="zlib") from error
    try:
        job = _decoder.decode(data)
    except msgspec.DecodeError as error:
        raise EnvelopeError(f"the job was not placed by Headrace: {error}", reason="data") from error
    if job.function != RQ_FUNCTION:
        raise EnvelopeError(f"the job calls {job.function!r}, only {RQ_FUNCTION!r} is run", reason="function")
    return job.args[0]
