"""A trigger's `idempotency_key`: what its expression makes of a message."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dispatch.filters import NotJson, decode_json
from shared.envelope import Envelope
from shared.errors import ExpressionError
from shared.events import emit
from shared.expression_paths import as_javascript
from shared.expressions import Expression, compile_expression

REPORT_EVERY_S = 60.0
LONGEST_KEY = 65_535
"""Characters; the most that a user property can hold in bytes (MQTT 5 §1.5.4)."""
EXACT = 2**53
_LONG_NUMBER = re.compile(rb"\d{16}")


class MessageKey:
    """The expression of one trigger. It never raises: a message whose key cannot be told has none, and runs.

    Failures are reported at most once per REPORT_EVERY_S, each time with the number of all.
    """

    def __init__(self, trigger: str, text: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._trigger = trigger
        self._text = text
        self._clock = clock
        self._expression: Expression | None = None
        self._failures = 0
        self._report_at = float("-inf")

    def of(self, envelope: Envelope, captures: Mapping[str, str]) -> str | None:
        """The key; None: it gives none (null, undefined, ''), or fails."""
        try:
            if self._expression is None:
                self._expression = compile_expression(self._text)
            return _key(self._expression.evaluate(MessageVariables(envelope, captures)))
        except ExpressionError as error:
            self._failed(error, envelope)
            return None

    def _failed(self, error: ExpressionError, envelope: Envelope) -> None:
        self._failures += 1
        now = self._clock()
        if now >= self._report_at:
            self._report_at = now + REPORT_EVERY_S
            emit(
                "trigger.expression_failed",
                trigger=self._trigger,
                topic=envelope.topic,
                error=error,
                failures=self._failures,
            )


class MessageVariables(Mapping[str, Any]):
    """What an expression sees of a message; each is worked out when it is asked for.

    `payload` is the value of a JSON payload, else its text if it is UTF-8, else base64. Integers in it that JavaScript
    would round (beyond 2^53) come as text: two of them must not become one key.
    """

    def __init__(self, envelope: Envelope, captures: Mapping[str, str]) -> None:
        self._envelope = envelope
        self._captures = captures

    def __getitem__(self, name: str) -> Any:
        return _VARIABLES[name](self._envelope, self._captures)

    def __iter__(self) -> Iterator[str]:
        return iter(_VARIABLES)

    def __len__(self) -> int:
        return len(_VARIABLES)


def _key(result: Any) -> str | None:
    if result is None or result == "":
        return None
    if isinstance(result, bool) or not isinstance(result, str | int | float):
        kind = {bool: "a boolean", list: "an array", dict: "an object"}.get(type(result), "something else")
        raise ExpressionError(f"idempotency_key gives {kind}: it has to give a text or a number")
    number = as_javascript(result) if isinstance(result, float) else result  # 2.0 and 2 are the same number
    key = number if isinstance(number, str) else repr(number)
    if len(key) > LONGEST_KEY:
        raise ExpressionError(f"idempotency_key gives {len(key)} characters: {LONGEST_KEY} are the most")
    return key


def _payload(envelope: Envelope, captures: Mapping[str, str]) -> Any:
    payload = envelope.payload
    try:
        value = decode_json(payload)
        return _exact(value) if _LONG_NUMBER.search(payload) else value
    except (NotJson, RecursionError):
        text = _payload_text(envelope, captures)
        return _payload_base64(envelope, captures) if text is None else text


def _exact(value: Any) -> Any:
    if type(value) is int:
        return value if -EXACT <= value <= EXACT else str(value)
    if type(value) is list:
        return [_exact(item) for item in value]
    if type(value) is dict:
        return {key: _exact(item) for key, item in value.items()}
    return value


def _payload_text(envelope: Envelope, _captures: Mapping[str, str]) -> str | None:
    try:
        return envelope.payload.decode()
    except UnicodeDecodeError:
        return None


def _payload_base64(envelope: Envelope, _captures: Mapping[str, str]) -> str:
    return base64.b64encode(envelope.payload).decode()


def _user_properties(envelope: Envelope) -> list[tuple[str, str]]:
    return envelope.properties.user_properties if envelope.properties else []


_VARIABLES: dict[str, Callable[[Envelope, Mapping[str, str]], Any]] = {
    "topic": lambda envelope, _: envelope.topic,
    "payload": _payload,
    "payload_text": _payload_text,
    "payload_base64": _payload_base64,
    "captures": lambda _, captures: dict(captures),
    "qos": lambda envelope, _: envelope.qos,
    "user_properties": lambda envelope, _: [list(pair) for pair in _user_properties(envelope)],
    "user_property": lambda envelope, _: dict(_user_properties(envelope)),
    "content_type": lambda envelope, _: envelope.properties.content_type if envelope.properties else None,
    "trigger": lambda envelope, _: envelope.trigger,
}
