"""A run as it is shown, made of what Redis holds of it. Pure.

The record of a run is an RQ job hash, and a stream with one entry for each attempt that ended and left something.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from shared.clock import iso_utc
from shared.envelope import Envelope
from shared.errors import EnvelopeError
from shared.runs import RunSpec, decode_job

FIELDS: Final = (
    "status", "state", "trigger", "attempts", "enqueued_at", "started_at", "ended_at", "execution", "source", "began",
    "admitted", "created_at", "worker_name", "created_by",
)  # fmt: skip
"""What of the job hash is read at once; the message in `data` is fetched apart, because it may be large."""

_ID = re.compile(r"q[012]-[A-Za-z0-9_-]+")
_OUTCOMES = {b"1": "succeeded", b"2": "failed", b"3": "stopped", b"4": "failed"}
"""By RQ's types of results; the last is of an attempt that is followed by another."""
_ENDED_BADLY = ("failed", "interrupted", "lost")


class Run(msgspec.Struct, frozen=True):
    """One run as it is listed. Times are ISO 8601 in UTC, None where it has not come to that: what a broker or a client
    has told in milliseconds, our own in microseconds.

    `attempts` is how often the code was started. `error` has `name`, `message` and `stack`. Result and error are those
    of a run that has ended. What comes from the message is None where the record cannot be read, and for a run that no
    message made, which has no trigger (''). `source` is `message`, `api`, `child` for a run that another one started,
    `replay` for one that a person has made of another, or `redrive` for one that was queued again. `labels` are those
    that the run gave itself (`wm_labels` in its result, as Windmill). `admitted_at` is when its message was stored, and
    so may be acknowledged. `created_at` is when it was made, by which runs are in order: two that one process has made
    differ in it. `worker` has started it last; `created_by` has asked for one that no message made, where it is known.
    """

    id: str
    state: str
    trigger: str
    runnable: str | None
    topic: str | None
    qos: int
    idempotency_key: str | None
    attempts: int
    received_at: str | None
    queued_at: str | None
    started_at: str | None
    ended_at: str | None
    result: Any
    error: dict[str, Any] | None
    payload_size: int | None
    runnable_version: str | None
    labels: list[str]
    source: str
    admitted_at: str | None = None
    created_at: str | None = None
    worker: str | None = None
    created_by: str | None = None


class Noted(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an attempt leaves beside result, error and log, as JSON, where there is any of it: labels that the run gave
    itself, and the arguments that a preprocessor made of the message. `skipped`: a flow that was stopped early, and
    says that it does not count.
    """

    labels: list[str] = []
    arguments: Any = None
    skipped: bool = False


class Attempt(msgspec.Struct, frozen=True):
    """A start of the code that has ended. `arguments` are those that a preprocessor made of the message."""

    outcome: str
    started_at: str | None
    ended_at: str | None
    execution_id: str
    result: Any = None
    error: dict[str, Any] | None = None
    log: str = ""
    labels: list[str] = []
    arguments: Any = None
    skipped: bool = False


class Head(msgspec.Struct, frozen=True):
    """What a job hash says without its data, of which `size` is the length in bytes. `listed_us` is its place in the
    list of runs (epoch µs), None for one that is in none.
    """

    id: str
    state: str
    fields: Mapping[str, str]
    size: int
    listed_us: int | None = None


def is_run_id(text: str) -> bool:
    """Whether a text has the form of a run's id."""
    return _ID.fullmatch(text) is not None


def state_of(status: str, state: str) -> str:
    """The run's state, also after RQ's own tools have changed the job: they know only `status`."""
    if status == "queued" and state in _ENDED_BADLY:
        return "queued"
    if status == "canceled" and state in {"queued", "scheduled", "suspended"}:
        return "cancelled"
    return state


def read_head(run_id: str, values: Sequence[bytes | None], size: int, score: bytes | None = None) -> Head | None:
    """From the values of FIELDS, and its score in the list of runs; None when there is no such run (any more)."""
    fields = {name: (value or b"").decode() for name, value in zip(FIELDS, values, strict=True)}
    if not fields["status"]:
        return None
    listed_us = None if score is None else int(float(score))
    return Head(run_id, state_of(fields["status"], fields["state"]), fields, size, listed_us)


def read_data(data: bytes | None) -> tuple[RunSpec | None, Envelope | None]:
    """The run and its message, as far as they can be read."""
    spec = None
    try:
        spec = decode_job(data or b"")
        return spec, spec.message()
    except EnvelopeError:
        return spec, None


def read_args(spec: RunSpec) -> dict[str, Any] | None:
    """The arguments of a run that no message made."""
    try:
        return None if spec.args is None else msgspec.json.decode(spec.args, type=dict[str, Any])
    except msgspec.DecodeError:
        return None


def read_attempt(entry: tuple[bytes, Mapping[bytes, bytes]]) -> Attempt:
    """From an entry of RQ's results stream."""
    fields = entry[1]
    noted = _noted(fields.get(b"noted"))
    return Attempt(
        outcome=_OUTCOMES.get(fields.get(b"type", b""), "unknown"),
        started_at=iso_text(fields.get(b"started_at", b"").decode()),
        ended_at=iso_text(fields.get(b"ended_at", b"").decode()),
        execution_id=fields.get(b"execution_id", b"").decode(),
        result=_result(fields.get(b"return_value")),
        error=_error(fields.get(b"error"), fields.get(b"exc_string")),
        log=fields.get(b"log", b"").decode("utf-8", "replace"),
        labels=noted.labels,
        arguments=noted.arguments,
        skipped=noted.skipped,
    )


def all_attempts(head: Head, recorded: Sequence[Attempt]) -> list[Attempt]:
    """The attempts that ended, oldest first. One that succeeded without result and log has left only the head."""
    fields = head.fields
    known = any(attempt.execution_id == fields["execution"] for attempt in recorded)
    if known or head.state != "succeeded":
        return list(recorded)
    last = Attempt(
        "succeeded",
        iso_text(fields["began"] or fields["started_at"]),
        iso_text(fields["ended_at"]),
        fields["execution"],
    )
    return [*recorded, last]


def make_run(head: Head, spec: RunSpec | None, message: Envelope | None, last: Attempt | None) -> Run:
    """Put together what was read; `last` is the newest attempt that is recorded."""
    fields = head.fields
    # An entry without execution id was written by RQ's own code. An older one is of a start that another has followed.
    has_ended = fields["ended_at"] or head.state == "scheduled"
    is_of_this_end = last is not None and has_ended and last.execution_id in {fields["execution"], ""}
    result, error = (last.result, last.error) if last is not None and is_of_this_end else (None, None)
    return Run(
        id=head.id,
        state=head.state,
        trigger=fields["trigger"],
        runnable=spec.runnable if spec else None,
        topic=message.topic if message else None,
        qos=int(head.id[1]),
        idempotency_key=spec.idempotency_key if spec else None,
        attempts=int(fields["attempts"] or 0),
        received_at=iso_ms(message.received_at) if message else None,
        queued_at=iso_text(fields["enqueued_at"]),
        started_at=iso_text(fields["began"] or fields["started_at"]),  # a flow that has waited was started again
        ended_at=iso_text(fields["ended_at"]),
        result=result,
        error=None if head.state == "succeeded" else error,  # recovered by its error handler
        payload_size=len(message.payload) if message else None,
        runnable_version=spec.runnable_version if spec else None,
        labels=last.labels if last is not None and is_of_this_end else [],
        source=fields["source"] or "message",
        admitted_at=iso_ms(int(fields["admitted"])) if fields["admitted"] else None,
        created_at=iso_text(fields["created_at"]) if head.listed_us is None else iso_us(head.listed_us),
        worker=fields["worker_name"] or None,
        created_by=fields["created_by"] or None,
    )


def iso_ms(ms: int) -> str:
    """Epoch milliseconds as ISO 8601 in UTC."""
    return f"{datetime.fromtimestamp(ms // 1000, UTC):%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"


def iso_us(us: int) -> str:
    """Epoch microseconds as ISO 8601 in UTC."""
    return iso_utc(us * 1000)


def iso_text(text: str) -> str | None:
    """A time as RQ writes it, in UTC with microseconds; None if there is none."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{at.microsecond:06d}Z"


def _noted(stored: bytes | None) -> Noted:
    try:
        return msgspec.json.decode(stored, type=Noted) if stored else Noted()
    except msgspec.DecodeError:
        return Noted()


def _result(packed: bytes | None) -> Any:
    """A return value as RQ keeps it: base64 of msgpack."""
    try:
        return None if packed is None else msgspec.msgpack.decode(base64.b64decode(packed))
    except (msgspec.DecodeError, binascii.Error):
        return None


def _error(stored: bytes | None, traceback: bytes | None) -> dict[str, Any] | None:
    """What the worker has stored; of a failure that RQ's own code has recorded, the traceback."""
    error = {"name": "UnknownError", "message": "", "stack": ""}
    if stored:
        try:
            return error | msgspec.json.decode(stored, type=dict[str, Any])
        except msgspec.DecodeError:
            return error | {"message": stored.decode("utf-8", "replace")}
    if not traceback:
        return None
    try:
        stack = zlib.decompress(base64.b64decode(traceback)).decode("utf-8", "replace")
    except (binascii.Error, zlib.error):
        return None
    name, _, message = stack.strip().rpartition("\n")[2].partition(": ")
    return {"name": name, "message": message, "stack": stack}
