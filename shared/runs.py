"""The life of a run, as a table; and the record that a run carries from placement to history.

The table is the rule: a Lua verb makes a transition only if its cell is here, and an absent cell is an error.
RQ's own status is a function of ours (`RQ_STATUS`), so that RQ's tools tell the same story.
"""

from __future__ import annotations

from typing import Final

import msgspec

from shared.envelope import Envelope, decode_envelope
from shared.errors import EnvelopeError

LIVE: Final = ("queued", "scheduled", "suspended", "running")
TERMINAL: Final = ("filtered", "expired", "succeeded", "failed", "lost", "interrupted", "cancelled")

# state → {verb: next state}. `claim` keeps `queued`: a claim is not a start.
TRANSITIONS: Final[dict[str, dict[str, str]]] = {
    "new": {"place": "queued", "create": "queued"},
    "queued": {"claim": "queued", "start": "running", "sweep QoS 0": "lost", "cancel": "cancelled"},
    "running": {
        "finish": "succeeded",
        "fail": "failed",
        "stop": "cancelled",
        "crash QoS 0": "lost",
        "crash QoS 1": "queued",
        "crash QoS 1, last": "failed",
        "crash QoS 2": "interrupted",
    },
    "lost": {"finish late": "succeeded", "fail late": "failed"},
    "interrupted": {"finish late": "succeeded", "fail late": "failed", "retry": "queued"},
    "failed": {"retry": "queued"},
    "succeeded": {},
    "cancelled": {},
}

RQ_STATUS: Final = {
    "queued": "queued",
    "running": "started",
    "succeeded": "finished",
    "failed": "failed",
    "lost": "failed",
    "interrupted": "failed",
    "cancelled": "canceled",
}

RQ_FUNCTION = "headrace.run"


class RunSpec(msgspec.Struct, frozen=True, array_like=True):
    """What a run is, decided when it was made and never changed: the argument of its RQ job.

    A run that no message made has `args`, the arguments of `main` as a JSON object; its `trigger` and `envelope` are
    empty, and `origin` says who made it. `parent` is the run that started it, `root` the first of that line.
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
