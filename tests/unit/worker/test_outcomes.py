"""How the endings of runs are recorded."""

from __future__ import annotations

import zlib
from base64 import b64decode
from typing import Any

import msgspec
import pytest

from shared.scripts.worker import Claim
from worker import outcomes
from worker.jobs import Job
from worker.runners.base import RunDone, RunErrorInfo, RunnerDied

RUN = "q1-abcdefgh-1-17"
JOB = Job(Claim(RUN, "w1-1-1", b"", 60.0, 0))


def done(*, ok: bool = True, **answer: Any) -> outcomes.Ended:
    """The ending for this answer of a runner."""
    return outcomes.done(JOB, RunDone(RUN, ok, **answer), 0.0123)


def unpacked(text: str) -> str:
    """A traceback as RQ's tools show it."""
    return zlib.decompress(b64decode(text)).decode()


def test_a_result_is_kept_as_rq_keeps_return_values() -> None:
    """Base64 of what our serializer writes."""
    ended = done(result_json=b'{"t": 21.5, "ok": true}')

    assert (ended.ending.outcome, ended.event) == ("succeeded", "run.finished")
    assert msgspec.msgpack.decode(b64decode(ended.ending.result)) == {"t": 21.5, "ok": True}


@pytest.mark.parametrize("result_json", [None, b"null"])
def test_a_run_that_says_nothing_costs_no_record_of_its_result(result_json: bytes | None) -> None:
    """No result, no log: every text is empty."""
    ending = done(result_json=result_json).ending

    assert (ending.result, ending.log, ending.error, ending.traceback) == ("", "", "", "")


def test_an_error_is_kept_for_us_as_json_and_for_rq_as_traceback() -> None:
    """Windmill's name, message and stack."""
    error = RunErrorInfo("ValueError", "too hot", "Traceback: f/iot/on_temp.py, line 3")
    ended = done(ok=False, error=error, log="reading\n")

    assert (ended.ending.outcome, ended.event, ended.ending.log) == ("failed", "run.failed", "reading\n")
    assert msgspec.json.decode(ended.ending.error) == {
        "name": "ValueError",
        "message": "too hot",
        "stack": "Traceback: f/iot/on_temp.py, line 3",
    }
    assert unpacked(ended.ending.traceback) == error.stack


def test_a_declared_failure_keeps_its_result_beside_the_error() -> None:
    """`wm_failure`: the run has failed, and what it returned can still be looked at."""
    ending = done(ok=False, error=RunErrorInfo("Failure", "no data"), result_json=b'{"rows": 0}').ending

    assert ending.outcome == "failed"
    assert msgspec.msgpack.decode(b64decode(ending.result)) == {"rows": 0}


def test_a_result_that_cannot_be_stored_fails_the_run_and_says_so() -> None:
    """An integer beyond 64 bits is JSON and is no msgpack."""
    ending = done(result_json=b"123456789012345678901234567890").ending

    assert ending.outcome == "failed"
    assert msgspec.json.decode(ending.error)["name"] == "ResultError"


def test_a_time_out_says_how_long_it_waited_and_keeps_the_log() -> None:
    """A person has to see which limit it was."""
    ending = outcomes.timed_out(JOB, 2.5, "working…\n", loading=False).ending

    assert (ending.outcome, ending.log) == ("failed", "working…\n")
    assert msgspec.json.decode(ending.error) == {
        "name": "TimeoutError",
        "message": "the run gave no answer within 2.5 s and was ended",
    }


def test_a_crash_leaves_to_redis_what_becomes_of_the_run() -> None:
    """The outcome is `crashed`; the policy by QoS is the verb's."""
    death = RunnerDied(-11, "SIGSEGV", "was ended by SIGSEGV", RUN, (RUN,), stderr_tail="Fatal Python error\n")
    ending = outcomes.crashed(JOB, death).ending

    assert ending.outcome == "crashed"
    assert msgspec.json.decode(ending.error) == {
        "name": "RunnerDied",
        "message": "the runner was ended by SIGSEGV",
        "stack": "Fatal Python error",
    }
