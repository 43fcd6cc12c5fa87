"""What is published with the end of a run: by the code itself, and as answer to its message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from shared.definitions import Reply, Trigger
from shared.envelope import Properties, encode_envelope
from shared.outgoing import Outgoing, decode_outgoing
from shared.runs import RunSpec
from shared.scripts.worker import Claim
from tests.support.factories import VERSION, make_envelope, make_trigger
from worker import outcomes
from worker.jobs import Job
from worker.outcomes import Ended
from worker.runners.base import Message, RunDone, RunErrorInfo
from worker.sending import Sending

RUN = "q1-abcdefgh-1-17"
ASKED = Properties(response_topic="me/answers", correlation_data=b"\x07")


class Known:
    """The one trigger that there is."""

    def __init__(self, **changes: Any) -> None:
        self._trigger = make_trigger(**changes)

    def trigger(self, version: str) -> Trigger | None:
        """By its version."""
        return self._trigger if version == VERSION else None


def make_job(properties: Properties | None = None, captures: dict[str, str] | None = None, **spec: Any) -> Job:
    """A run for a message, or with `args` one that none made."""
    message = None if "args" in spec else make_envelope(properties=properties)
    envelope = b"" if message is None else encode_envelope(message)
    made = RunSpec("f/demo/hello", "f/demo/on_hello", "v", "key", captures or {}, envelope, **spec)
    return Job(Claim(RUN, "w1-1-1", b"", 60.0, 2), made, message)


def said(job: Job, *messages: Message, result: bytes | None = None) -> Ended:
    """The code went well."""
    return outcomes.done(job, RunDone(RUN, ok=True, result_json=result, messages=messages), 0.01)


def failed(job: Job) -> Ended:
    """It did not, for good."""
    return outcomes.done(job, RunDone(RUN, ok=False, error=RunErrorInfo("ValueError", "too hot", "a stack")), 0.01)


def report(ended: Ended, **trigger: Any) -> Ended:
    """The ending as it is recorded."""
    reported: list[Ended] = []
    Sending(reported.append, Known(**trigger)).report(ended)
    (one,) = reported
    return one


def published(ended: Ended) -> list[Outgoing]:
    """The messages that are recorded with it."""
    entries: Sequence[tuple[str, str, bytes]] = ended.ending.outgoing
    found = [decode_outgoing(blob) for _, _, blob in entries]
    assert [(each.broker, each.trigger or "?") for each in found] == [entry[:2] for entry in entries]
    return found


def test_messages_go_to_the_broker_of_the_trigger_unless_they_name_another() -> None:
    """With a key that no other message has: run, attempt, number."""
    first, second = published(report(said(make_job(), Message("a", b"1"), Message("b", b"2", broker="f/x/other"))))
    assert (first.broker, first.trigger, first.cause, first.key) == (
        "f/demo/broker",
        "f/demo/hello",
        VERSION,
        f"{RUN}.3.1",
    )
    assert (second.broker, second.key) == ("f/x/other", f"{RUN}.3.2")


def test_runs_that_no_message_made_publish_for_the_trigger_behind_them() -> None:
    """An error handler, a child: by the version of that trigger."""
    (message,) = published(report(said(make_job(args=b"{}", cause=VERSION), Message("a", b""))))
    assert (message.broker, message.trigger) == ("f/demo/broker", "f/demo/hello")


def test_a_run_whose_message_has_no_broker_has_failed() -> None:
    """It says so, and publishes nothing."""
    ended = report(said(make_job(args=b"{}"), Message("a", b"")))
    assert (ended.ending.outcome, list(ended.ending.outgoing)) == ("failed", [])
    assert "no broker is known" in ended.ending.error


def test_a_run_that_fails_keeps_its_error_where_its_answer_cannot_be_addressed() -> None:
    """The filter that matched has not the level that the topic names."""
    ended = report(failed(make_job()), reply=Reply("told/{site}", errors=True))
    assert "too hot" in ended.ending.error
    assert list(ended.ending.outgoing) == []


def test_a_run_that_fails_publishes_nothing() -> None:
    """Neither what it has said nor an answer, unless the trigger answers with errors."""
    assert published(report(failed(make_job(ASKED)), reply=Reply())) == []
    (answer,) = published(report(failed(make_job(ASKED)), reply=Reply(errors=True)))
    assert answer.payload == b'{"error":{"name":"ValueError","message":"too hot"}}'
    assert answer.user_properties == (("headrace-state", "failed"),)


@pytest.mark.parametrize(
    "result, payload, content_type",
    [
        (b'{"a":1}', b'{"a":1}', "application/json"),
        (b'"21.5 \xc2\xb0"', "21.5 °".encode(), "text/plain"),
        (b"21.5", b"21.5", "application/json"),
        (b"null", b"", "text/plain"),
        (None, b"", "text/plain"),
    ],
)
def test_a_result_answers_the_message(result: bytes | None, payload: bytes, content_type: str) -> None:
    """Text as it is, all else as JSON; to the response topic, with the correlation data."""
    (answer,) = published(report(said(make_job(ASKED), result=result), reply=Reply(qos=0, retain=True)))
    assert (answer.topic, answer.correlation_data) == ("me/answers", b"\x07")
    assert (answer.payload, answer.content_type) == (payload, content_type)
    assert (answer.qos, answer.retain) == (0, True)


def test_a_message_that_asks_for_no_answer_gets_one_only_where_the_trigger_names_a_topic() -> None:
    """With the named levels of its filter put in place."""
    assert published(report(said(make_job()), reply=Reply())) == []
    (answer,) = published(report(said(make_job(captures={"site": "north"})), reply=Reply("told/{site}")))
    assert (answer.topic, answer.correlation_data) == ("told/north", None)


def test_code_that_replies_itself_is_not_doubled() -> None:
    """Its own reply takes along the correlation data."""
    (answer,) = published(report(said(make_job(ASKED), Message("x", b"!", is_reply=True)), reply=Reply()))
    assert (answer.payload, answer.correlation_data) == (b"!", b"\x07")
