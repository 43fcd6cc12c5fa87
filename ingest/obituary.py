"""The message that tells of a dead letter. Pure."""

from __future__ import annotations

from typing import Final

from shared.dead import DeadLetter
from shared.definitions import DeadTopic
from shared.envelope import Properties
from shared.history import RunDetails
from shared.outgoing import OUTGOING_VERSION, Outgoing

MARK: Final = "headrace-dead-letter"
"""User property of such a message: the dead letter's id."""
_ERROR_MAX = 1024


def of_run(topic: DeadTopic, details: RunDetails, at: str) -> Outgoing | None:
    """Of a run that has ended badly; None where no message made it, or one that tells of a dead letter itself."""
    run, message = details.run, details.message
    if message is None or _tells(message.properties):
        return None
    error = run.error or {}
    about = {
        "reason": run.state,
        "error": f"{error.get('name', '')}: {error.get('message', '')}"[:_ERROR_MAX],
        "runnable": run.runnable or "",
        "attempts": str(run.attempts),
        "topic": message.topic,
        "qos": str(message.qos),
        "first-at": run.received_at or "",
        "last-at": at,
    }
    return _outgoing(topic, run.id, run.trigger, message.payload, about, message.properties)


def of_letter(topic: DeadTopic, dead_id: str, letter: DeadLetter, at: str) -> Outgoing | None:
    """Of a message that made no run; None for what could not be published: that will not be, either."""
    if letter.reason == "unsent" or _tells(letter.properties):
        return None
    about = {
        "reason": letter.reason,
        "error": letter.detail[:_ERROR_MAX],
        "topic": letter.topic,
        "qos": str(letter.qos),
        "size": str(letter.size),
        "last-at": at,
    }
    return _outgoing(topic, dead_id, letter.trigger, letter.payload, about, letter.properties)


def _outgoing(
    topic: DeadTopic, dead_id: str, trigger: str, payload: bytes, about: dict[str, str], original: Properties | None
) -> Outgoing:
    told = [
        (MARK, dead_id),
        ("headrace-trigger", trigger),
        *((f"headrace-{name}", text) for name, text in about.items()),
    ]
    original = original or Properties()
    return Outgoing(
        OUTGOING_VERSION,
        topic.broker,
        trigger,
        "",
        dead_id,
        f"{dead_id}.dead.{about['last-at']}",
        f"{topic.prefix}/dead/{trigger}",
        payload,
        topic.qos,
        content_type=original.content_type,
        response_topic=original.response_topic,
        correlation_data=original.correlation_data,
        user_properties=(*told, *original.user_properties),
    )


def _tells(properties: Properties | None) -> bool:
    return properties is not None and any(name == MARK for name, _ in properties.user_properties)
