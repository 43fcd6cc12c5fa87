"""The call of each run: forms, references, tokens."""

from __future__ import annotations

from typing import Any

import pytest

from shared.envelope import Envelope
from shared.errors import InternalError, UserError
from shared.run_tokens import RunToken, verify
from shared.runs import RunSpec, encode_job
from shared.scripts.worker import Claim
from tests.support.factories import make_envelope
from worker.arguments import Calls
from worker.jobs import Job, read_job
from worker.runners.base import Form, ScriptFiles

KEY = b"k" * 32
PLAIN = ScriptFiles("v1", "/x", "/x/f.py", path="f/iot/on_temp")
PREPROCESSED = ScriptFiles("v1", "/x", "/x/f.py", has_preprocessor=True, path="f/iot/on_temp")


class Triggers:
    """Every trigger asks for JSON."""

    def form(self, trigger_version: str) -> Form:
        """Json."""
        del trigger_version
        return "json"


class Resources:
    """Every reference is worth 42."""

    def resolve(self, value: Any) -> Any:
        """At the top level."""
        return {key: 42 if str(each).startswith("$") else each for key, each in value.items()}


CALLS = Calls(Triggers(), Resources(), KEY)


def job(message: Envelope | None = None, args: bytes | None = None, **spec: Any) -> Job:
    """A claimed run."""
    made = RunSpec("f/iot/temp" if message else "", "f/iot/on_temp", "v1", "key", {}, b"", args=args, **spec)
    return Job(Claim("q1-a-1-1", "abcdef01-1", b"", None, 0), made, message)


def test_a_message_is_handed_over_in_the_form_of_its_trigger() -> None:
    """The child decodes; with a preprocessor the event is Windmill's, whatever the trigger says."""
    plain = CALLS.call(job(make_envelope(payload=b"1")), PLAIN)
    preprocessed = CALLS.call(job(make_envelope(payload=b"1")), PREPROCESSED)

    assert (plain.payload, plain.form, plain.event) == (b"1", "json", None)
    assert preprocessed.form == "windmill"
    assert preprocessed.event is not None


def test_a_run_with_arguments_skips_the_preprocessor() -> None:
    """Main is called with them by name; the context tells who made the run, and nothing of a message."""
    call = CALLS.call(job(args=b'{"a":1}', origin="api", parent="q2-api-1"), PREPROCESSED)

    assert (call.payload, call.form, call.event) == (b'{"a":1}', "arguments", None)
    about = {"idempotency_key": "key", "attempt": 1, "origin": "api", "parent": "q2-api-1"}
    assert call.context == about | {"brokerless": True}
    caused = CALLS.call(job(args=b'{"a":1}', origin="child", parent="q2-api-1", cause="v7"), PREPROCESSED)
    assert caused.context == about | {"origin": "child"}
    assert call.environment["WM_STATE_PATH"] == "f/iot/on_temp/user"


def test_references_in_arguments_are_put_in_place() -> None:
    """And only there: what a broker delivered is never looked at."""
    assert CALLS.call(job(args=b'{"db":"$res:f/iot/db","n":1}'), PLAIN).payload == b'{"db":42,"n":1}'
    assert CALLS.call(job(make_envelope(payload=b'{"db":"$res:x"}')), PLAIN).payload == b'{"db":"$res:x"}'


def test_arguments_that_are_not_json_cannot_be_resolved() -> None:
    """The error says so before anything is executed."""
    with pytest.raises(UserError, match="not JSON"):
        CALLS.call(job(args=b'{"db":"$res:x"'), PLAIN)


def test_a_token_is_the_executions_own() -> None:
    """The console finds run and execution in it."""
    environment = CALLS.call(job(make_envelope()), PLAIN).environment

    assert verify(KEY, environment["WM_TOKEN"]) == RunToken("q1-a-1-1", "abcdef01-1")
    assert environment["WM_JOB_ID"] == "q1-a-1-1"
    assert environment["WM_SCHEDULED_FOR"] == "2026-01-02T03:04:05.000000Z"


def test_a_job_that_is_not_ours_has_no_call() -> None:
    """It is refused before it comes here."""
    with pytest.raises(InternalError):
        CALLS.call(Job(Claim("q1-a-1-1", "abcdef01-1", b"", None, 0)), PLAIN)


def test_a_claim_without_a_message_is_a_job_with_arguments() -> None:
    """Nothing looks for an envelope in it."""
    spec = RunSpec("", "f/iot/on_temp", "v1", "key", {}, b"", args=b"{}", origin="api")
    read = read_job(Claim("q2-api-1", "abcdef01-1", encode_job(spec), None, 0))

    assert (read.spec, read.message, read.problem) == (spec, None, None)
