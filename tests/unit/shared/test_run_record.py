"""A run as it is shown: from RQ's job hash and results stream."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import msgspec
import pytest

from shared.envelope import encode_envelope
from shared.run_record import FIELDS, Head, Run, all_attempts, make_run, read_attempt, read_data, read_head, state_of
from shared.runs import RunSpec, encode_job
from tests.support.factories import NOW_MS, RUNNABLE, TRIGGER, make_envelope

ENDED = {
    "status": "finished", "state": "succeeded", "trigger": TRIGGER, "attempts": "1", "execution": "w1-1",
    "enqueued_at": "2026-01-02T03:04:05.001999Z", "started_at": "2026-01-02T03:04:05.002000Z",
    "ended_at": "2026-01-02T03:04:05.003000Z",
}  # fmt: skip


def head(**fields: str) -> Head:
    """A run that ended well, with these fields changed."""
    record = ENDED | fields
    found = read_head("q2-abcdefgh-1-5", [record.get(name, "").encode() or None for name in FIELDS], 100)
    assert found is not None
    return found


def entry(**fields: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """An entry of the results stream."""
    given = {b"type": b"1", b"execution_id": b"w1-1", b"started_at": ENDED["started_at"].encode()}
    return b"1-1", given | {name.encode(): value for name, value in fields.items()}


def made(*, result: Any = None, of: Head | None = None) -> Run:
    """The run with this result."""
    packed = base64.b64encode(msgspec.msgpack.encode(result))
    return make_run(of or head(), None, None, read_attempt(entry(return_value=packed)))


def test_a_run_is_shown_with_its_message() -> None:
    """Its own times in microseconds, those of its message in milliseconds."""
    envelope = make_envelope(qos=2, payload=b"21.5")
    spec = RunSpec(TRIGGER, RUNNABLE.path, RUNNABLE.version, "abcdefgh-1-5", {}, encode_envelope(envelope))
    run = make_run(head(), *read_data(encode_job(spec)), None)

    assert (run.topic, run.qos, run.runnable, run.payload_size) == ("demo/hello", 2, RUNNABLE.path, 4)
    assert (run.idempotency_key, run.attempts) == ("abcdefgh-1-5", 1)
    assert (run.received_at, run.queued_at) == ("2026-01-02T03:04:05.000Z", "2026-01-02T03:04:05.001999Z")
    assert envelope.received_at == NOW_MS


def test_the_result_is_the_value_that_the_code_returned() -> None:
    """Whatever its type."""
    assert made(result={"hot": True}).result == {"hot": True}


def test_an_attempt_shows_what_it_has_noted() -> None:
    """Labels, and what a preprocessor made of the message; nothing where that cannot be read."""
    attempt = read_attempt(entry(noted=b'{"labels":["alarm","7"],"arguments":{"site":"north"}}'))

    assert (attempt.labels, attempt.arguments) == (["alarm", "7"], {"site": "north"})
    assert make_run(head(), None, None, attempt).labels == ["alarm", "7"]
    assert read_attempt(entry(noted=b"NaN")).arguments is None


@pytest.mark.parametrize("fields", [{"ended_at": ""}, {"execution": "w2-1"}, {"execution": ""}])
def test_a_result_of_an_earlier_start_is_not_the_runs(fields: dict[str, str]) -> None:
    """A run that was queued again, or runs again, has none yet."""
    assert made(result=1, of=head(**fields)).result is None


def test_an_error_is_shown_as_the_worker_stored_it() -> None:
    """Name, message and stack are always there."""
    stored = b'{"name":"ValueError","message":"no","extra":{"code":3}}'
    run = make_run(head(state="failed"), None, None, read_attempt(entry(type=b"2", error=stored)))

    assert run.error == {"name": "ValueError", "message": "no", "stack": "", "extra": {"code": 3}}


def test_a_failure_that_rq_recorded_is_read_from_its_traceback() -> None:
    """RQ's own tools know no error of ours, and no execution id."""
    packed = base64.b64encode(zlib.compress(b"Traceback\n  x\nValueError: no: way\n"))
    attempt = read_attempt(entry(type=b"2", execution_id=b"", exc_string=packed))
    run = make_run(head(state="failed"), None, None, attempt)

    assert run.error == {"name": "ValueError", "message": "no: way", "stack": "Traceback\n  x\nValueError: no: way\n"}


def test_what_cannot_be_read_does_not_hide_the_run() -> None:
    """A record that somebody else has written."""
    attempt = read_attempt(entry(return_value=b"!", started_at=b"soon", error=b"not JSON"))
    run = make_run(head(state="failed"), *read_data(b"garbage"), attempt)

    assert (run.id, run.topic, run.result) == ("q2-abcdefgh-1-5", None, None)
    assert run.error == {"name": "UnknownError", "message": "not JSON", "stack": ""}


def test_a_run_that_is_gone_is_none() -> None:
    """Retention may be faster than the reader."""
    assert read_head("q1-x-1-1", [None] * len(FIELDS), 0) is None


@pytest.mark.parametrize(
    "status, state, shown",
    [
        ("queued", "queued", "queued"),
        ("queued", "failed", "queued"),
        ("canceled", "queued", "cancelled"),
        ("failed", "interrupted", "interrupted"),
    ],
)
def test_the_state_follows_what_rqs_tools_did(status: str, state: str, shown: str) -> None:
    """They change the status alone, until a worker notices."""
    assert state_of(status, state) == shown


def test_a_success_that_left_nothing_is_an_attempt_too() -> None:
    """It has no entry in the stream, only the head tells of it."""
    crashed = read_attempt(entry(type=b"2", execution_id=b"w0-1"))
    attempts = all_attempts(head(attempts="2"), [crashed])

    assert [(attempt.outcome, attempt.execution_id) for attempt in attempts] == [
        ("failed", "w0-1"),
        ("succeeded", "w1-1"),
    ]
    assert all_attempts(head(), [read_attempt(entry())]) == [read_attempt(entry())]
