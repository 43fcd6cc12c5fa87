"""What a run publishes, put together with its end: its own messages, and its result where the trigger has it answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from shared.definitions import Reply, Trigger
from shared.envelope import Envelope
from shared.errors import HeadraceError, UserError
from shared.outgoing import OUTGOING_VERSION, Outgoing, encode_outgoing
from shared.topics import filled
from shared.tracing.context import TRACEPARENT
from shared.tracing.runs import TracedRun, may_have_trace, trace_properties
from worker.jobs import Job
from worker.outcomes import Ended, sent, unsendable
from worker.runners.base import Message, RunErrorInfo

JSON_TYPE, TEXT_TYPE = "application/json", "text/plain"
STATE = "headrace-state"
"""User property of an answer that tells of a failure."""

_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class TriggerVersions(Protocol):
    """Knows the triggers."""

    def trigger(self, version: str) -> Trigger | None:
        """The trigger of this version."""


class Sending:
    """Hands endings on to `report`, with what is to be published in the same step as the run's end.

    A run that has failed publishes nothing of its own; neither does one that is to be tried again.
    """

    def __init__(self, report: Callable[[Ended], None], triggers: TriggerVersions) -> None:
        self._report = report
        self._triggers = triggers

    def report(self, ended: Ended) -> None:
        """Report an ending. One whose messages cannot be addressed has failed; one that has failed keeps its error."""
        try:
            outgoing = self._outgoing(ended)
        except HeadraceError as error:
            self._report(ended if ended.answer is None else unsendable(ended, error.message))
        else:
            self._report(sent(ended, outgoing) if outgoing else ended)

    def _outgoing(self, ended: Ended) -> list[tuple[str, str, bytes]]:
        job, answer = ended.job, ended.answer
        if job.spec is None or (answer is None and ended.ending.outcome != "failed"):
            return []
        cause = job.spec.cause_by(job.message)
        trigger = self._triggers.trigger(cause) if cause else None
        messages = list(answer.messages if answer else ())
        if trigger is not None and (reply := _reply(ended, trigger, messages)) is not None:
            messages.append(reply)
        numbered = enumerate(messages, start=1)
        return [entry(address(job, cause, trigger, message, number)) for number, message in numbered]


def address(job: Job, cause: str, trigger: Trigger | None, message: Message, number: int | str) -> Outgoing:
    """The message as it goes into an outbox. Raises UserError where no broker is known."""
    broker = message.broker or (trigger.broker if trigger else None)
    if broker is None:
        raise UserError(f"a message for {message.topic} was published, and no broker is known: name one with broker")
    return Outgoing(
        OUTGOING_VERSION,
        broker,
        trigger.path if trigger else "",
        cause if trigger else "",
        job.claim.run_id,
        f"{job.claim.run_id}.{job.attempt}.{number}",
        message.topic,
        message.payload,
        message.qos,
        message.retain,
        message.content_type,
        message.response_topic,
        _correlation(job.message) if message.is_reply else message.correlation_data,
        _with_trace(job, message.user_properties),
        message.expires_in_s,
    )


def _with_trace(job: Job, said: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """User properties with the run's trace, where it has one and the code has not said another."""
    if job.spec is None or not may_have_trace(job.spec, job.message) or any(name == TRACEPARENT for name, _ in said):
        return said
    run = TracedRun(job.claim.run_id, job.claim.execution, job.spec, job.message)
    return (*said, *trace_properties(run))


def entry(outgoing: Outgoing) -> tuple[str, str, bytes]:
    """Broker, trigger ('?' none), and the message, as a verb puts it into an outbox."""
    return outgoing.broker, outgoing.trigger or "?", encode_outgoing(outgoing)


def _reply(ended: Ended, trigger: Trigger, said: list[Message]) -> Message | None:
    """The result, or the error, as answer to the message; None where none is wanted or the code has answered itself."""
    job, wanted = ended.job, trigger.reply
    if wanted is None or job.message is None or job.spec is None or any(each.is_reply for each in said):
        return None
    topic = _reply_topic(job.message, wanted, job.spec.captures)
    if topic is None:
        return None
    if ended.answer is not None:
        payload, content_type = _result(ended.answer.result_json)
        return _answer(topic, wanted, payload, content_type)
    if not wanted.errors or ended.raised is None:
        return None
    return _answer(topic, wanted, *_failure(ended.raised.error), ((STATE, "failed"),))


def _answer(
    topic: str, wanted: Reply, payload: bytes, content_type: str, properties: tuple[tuple[str, str], ...] = ()
) -> Message:
    return Message(
        topic, payload, wanted.qos, wanted.retain, is_reply=True, content_type=content_type, user_properties=properties
    )


def _reply_topic(message: Envelope, wanted: Reply, captures: dict[str, str]) -> str | None:
    properties = message.properties
    if properties is not None and properties.response_topic is not None:
        return properties.response_topic
    if wanted.topic is None:
        return None
    try:
        return filled(wanted.topic, captures)
    except KeyError as error:
        raise UserError(f"the reply's topic names {{{error.args[0]}}}, and the filter that matched does not") from error


def _correlation(message: Envelope | None) -> bytes | None:
    return message.properties.correlation_data if message is not None and message.properties is not None else None


def _result(result_json: bytes | None) -> tuple[bytes, str]:
    """(payload, content type) of a result: text as it is, nothing for None, JSON for all else."""
    if result_json is None or result_json == b"null":
        return b"", TEXT_TYPE
    if result_json.startswith(b'"'):
        return str(_decode(result_json)).encode("utf-8", "replace"), TEXT_TYPE
    return result_json, JSON_TYPE


def _failure(error: RunErrorInfo) -> tuple[bytes, str]:
    shown: dict[str, Any] = {"error": {"name": error.name, "message": error.message}}
    return _encode(shown), JSON_TYPE
