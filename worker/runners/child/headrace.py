"""What a script may ask about the run that it is executing, and how it publishes to MQTT.

    import headrace

    def main(payload: bytes):
        key = headrace.run.idempotency_key      # the same at every attempt: hand it to what must act only once
        site = headrace.run.captures["site"]    # of the topic filter plant/{site}/temp
        headrace.publish(f"alarm/{site}", {"level": 3})

`headrace.run`, `publish` and `reply` may be used from every thread of the script while its `main` or `preprocessor`
executes.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Iterable
from typing import Any

__all__ = ["Run", "publish", "reply", "run"]

MAX_MESSAGES = 1000
"""What one run may publish."""
_MAX_TOPIC_BYTES = 65_535
_MAX_EXPIRY_S = 4_294_967_295

_current: dict[str, Any] | None = None
_messages: list[dict[str, Any]] = []
_waiting_bytes = 0
_limit_bytes = 8 * 1024 * 1024


class Run:
    """The run that is executing. Reading anything from it while none is raises RuntimeError, and so does reading what
    only a message has in a run that was started otherwise.
    """

    @property
    def id(self) -> str:
        """The run's id, as `headrace runs` shows it. The same at every attempt."""
        return str(_value("id"))

    @property
    def idempotency_key(self) -> str:
        """Identifies the message, or the run that none made: the same at every attempt, and never given to another."""
        return str(_value("idempotency_key"))

    @property
    def attempt(self) -> int:
        """1 at the first start, and one more at each later one."""
        return int(_value("attempt"))

    @property
    def origin(self) -> str:
        """What made the run: `message`, or for example `api`."""
        return str(_value("origin", "message"))

    @property
    def parent(self) -> str | None:
        """Id of the run that started this one, None where none did."""
        return None if (parent := _value("parent", None)) is None else str(parent)

    @property
    def root(self) -> str | None:
        """Id of the first run in the line of parents, None where there is none."""
        return None if (root := _value("root", None)) is None else str(root)

    @property
    def traceparent(self) -> str | None:
        """The trace that the run belongs to, as W3C Trace Context writes it: hand it on. None: it belongs to none."""
        return None if (trace := _value("traceparent", None)) is None else str(trace)

    @property
    def tracestate(self) -> str | None:
        """What tracing systems have added to that. None where there is nothing."""
        return None if (state := _value("tracestate", None)) is None else str(state)

    @property
    def trigger(self) -> str:
        """Path of the trigger that the message came through."""
        return str(_value("trigger"))

    @property
    def topic(self) -> str:
        """The topic that the message was published to."""
        return str(_value("topic"))

    @property
    def qos(self) -> int:
        """QoS of the delivery: 0, 1 or 2."""
        return int(_value("qos"))

    @property
    def captures(self) -> dict[str, str]:
        """The named levels of the topic filter that matched: `plant/{site}/temp` gives {"site": …}."""
        return dict(_value("captures", {}))

    @property
    def received_at(self) -> dt.datetime:
        """When the message was received from the broker, in UTC with milliseconds."""
        return dt.datetime.fromtimestamp(_value("received_at") / 1000, dt.UTC)

    def __repr__(self) -> str:
        return "<headrace.run outside of a run>" if _current is None else f"<headrace.run {_current['id']}>"


run = Run()


def publish(  # noqa: PLR0913 - the properties of PUBLISH
    topic: str,
    payload: Any = b"",
    *,
    qos: int = 1,
    retain: bool = False,
    broker: str | None = None,
    content_type: str | None = None,
    response_topic: str | None = None,
    correlation_data: bytes | None = None,
    user_properties: Iterable[tuple[str, str]] = (),
    expires_in_s: int | None = None,
) -> None:
    """Publish a message when this run has succeeded, in the same step as its end: a run that fails publishes nothing.

    It is published at least once (`qos` 1) or at most once (0), in the order of the calls, and carries a user property
    `idempotency-key`. `payload` is bytes, text, or what becomes JSON. `broker` is the path of a resource, by default
    that of the trigger. The trigger that made this run does not get the message, whatever it has subscribed to.
    `expires_in_s` is the message expiry interval; it and the properties before it need a broker that speaks MQTT 5.

    Raises ValueError and TypeError for what cannot be published, RuntimeError where no broker is known.
    """
    context = _executing("publish")
    if broker is None and context.get("brokerless"):
        raise RuntimeError("no message made this run, so it has no broker of its own: publish(..., broker='f/...')")
    message: dict[str, Any] = {"topic": _topic(topic), "qos": _level(qos)}
    optional = {
        "retain": bool(retain),
        "broker": broker,
        "content_type": content_type,
        "response_topic": None if response_topic is None else _topic(response_topic),
        "user_properties": [(str(name), str(value)) for name, value in user_properties],
        "expires_in_s": None if expires_in_s is None else _seconds(expires_in_s),
    }
    message |= {name: value for name, value in optional.items() if value}
    if correlation_data is not None:
        message["correlation_data"] = base64.b64encode(correlation_data).decode()
    _add(message, payload)


def reply(payload: Any = b"", *, topic: str | None = None, qos: int = 1, content_type: str | None = None) -> None:
    """Answer the message that this run is for: as `publish`, to its response topic with its correlation data (MQTT 5).

    `topic` is for messages that ask for no answer themselves, as with MQTT 3.1.1. Raises RuntimeError where there is
    neither; else as `publish`.
    """
    context = _executing("reply")
    asked = context.get("response_topic")
    if topic is None and asked is None:
        raise RuntimeError("the message names no response topic: say where to with reply(..., topic='...')")
    message: dict[str, Any] = {"topic": _topic(topic or asked), "qos": _level(qos)}
    if asked is not None:
        message["is_reply"] = True
    if content_type is not None:
        message["content_type"] = content_type
    _add(message, payload)


def _value(name: str, default: Any = ...) -> Any:
    if _current is None:
        raise RuntimeError(
            f"headrace.run.{name} is known only while main or preprocessor runs: "
            "read it there, not when the script is imported"
        )
    value = _current.get(name, default)
    if value is ...:
        raise RuntimeError(f"this run has no {name}: no message made it")
    return value


def _enter(context: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Called by the runner: the context of the run that begins, None when it has ended. What was published since."""
    global _current, _messages, _waiting_bytes  # noqa: PLW0603 - threads that a script starts inherit no context variables
    _current = context
    messages = _messages
    if messages:
        _messages, _waiting_bytes = [], 0
    return messages


def _limit(max_bytes: int) -> None:
    """Called by the runner: how many bytes of payload one run may publish."""
    global _limit_bytes  # noqa: PLW0603 - as above
    _limit_bytes = max_bytes


def _executing(name: str) -> dict[str, Any]:
    if _current is None:
        raise RuntimeError(f"headrace.{name} is for main and preprocessor: no run executes now")
    return _current


def _add(message: dict[str, Any], payload: Any) -> None:
    global _waiting_bytes  # noqa: PLW0603 - as above
    data = _payload(payload)
    size = len(data) + len(str(message))
    if len(_messages) >= MAX_MESSAGES:
        raise ValueError(f"a run may publish {MAX_MESSAGES} messages: publish fewer, or larger ones")
    if _waiting_bytes + size > _limit_bytes:
        raise ValueError(f"a run may publish {_limit_bytes} bytes in all: the {size} of this message are too many")
    _waiting_bytes += size
    _messages.append({**message, "payload": base64.b64encode(data).decode()})


def _payload(payload: Any) -> bytes:
    if isinstance(payload, (bytes, bytearray, memoryview)):
        return bytes(payload)
    if isinstance(payload, str):
        return payload.encode()
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _topic(topic: Any) -> str:
    if not isinstance(topic, str):
        raise TypeError(f"a topic is text, not {type(topic).__name__}")
    if not topic or "\0" in topic or "+" in topic or "#" in topic:
        raise ValueError(f"{topic!r} is no topic to publish to: it is empty, or has one of + # and U+0000 in it")
    if len(topic.encode()) > _MAX_TOPIC_BYTES:
        raise ValueError(f"a topic of {len(topic.encode())} bytes: MQTT has at most {_MAX_TOPIC_BYTES}")
    return topic


def _level(qos: Any) -> int:
    if qos not in (0, 1) or isinstance(qos, bool):
        raise ValueError(f"qos {qos!r}: messages are published at QoS 0 or 1")
    return int(qos)


def _seconds(seconds: int) -> int:
    if not 0 < seconds <= _MAX_EXPIRY_S:
        raise ValueError(f"expires_in_s is {seconds!r}, and has to be a number of seconds above 0")
    return int(seconds)
