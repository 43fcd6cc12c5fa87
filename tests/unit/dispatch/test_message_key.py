"""What a trigger's `idempotency_key` makes of a message."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dispatch.message_key import MessageKey, MessageVariables
from shared import events
from shared.envelope import Envelope, Properties
from tests.support.factories import TRIGGER, make_envelope

PROPERTIES = Properties(
    content_type="application/json", user_properties=[("site", "north"), ("site", "b"), ("id", "7")]
)
MESSAGE = make_envelope(topic="plant/7", payload=b'{"id": "a1", "n": 5, "f": 2.0}', qos=2, properties=PROPERTIES)


def key(text: str, message: Envelope = MESSAGE) -> str | None:
    """The key of a message with the capture `site`."""
    return MessageKey(TRIGGER, text).of(message, {"site": "north"})


@pytest.fixture
def reported() -> Iterator[list[dict[str, object]]]:
    """The failures that are reported."""
    found: list[dict[str, object]] = []
    before = events.send_to(lambda _level, name, fields: found.append({"name": name, **fields}))
    yield found
    events.send_to(*before)


@pytest.mark.parametrize(
    "text,expected",
    [
        ("payload.id", "a1"),
        ("payload.n", "5"),
        ("payload.f", "2"),
        ("`${topic} ${payload.id}`", "plant/7 a1"),
        ("captures.site", "north"),
        ("qos", "2"),
        ("user_property.id", "7"),
        ("user_property.site", "b"),
        ("user_properties[0][1]", "north"),
        ("content_type", "application/json"),
        ("trigger", TRIGGER),
        ("payload_text", '{"id": "a1", "n": 5, "f": 2.0}'),
        ("payload_base64", "eyJpZCI6ICJhMSIsICJuIjogNSwgImYiOiAyLjB9"),
    ],
)
def test_the_key_is_a_text_or_number_of_the_message(text: str, expected: str) -> None:
    """Everything that an expression sees."""
    assert key(text) == expected


@pytest.mark.parametrize("text", ["null", "undefined", "''", "payload.missing", "user_property.missing"])
def test_nothing_is_no_key(text: str, reported: list[dict[str, object]]) -> None:
    """And no failure either."""
    assert key(text) is None
    assert reported == []


@pytest.mark.parametrize("text", ["payload", "user_properties", "true", "payload.missing.x"])
def test_a_key_that_cannot_be_told_is_reported(text: str, reported: list[dict[str, object]]) -> None:
    """The message has none then."""
    assert key(text) is None
    (failure,) = reported
    assert (failure["name"], failure["trigger"], failure["topic"]) == ("trigger.expression_failed", TRIGGER, "plant/7")


def test_a_key_of_any_length_is_not_kept(reported: list[dict[str, object]]) -> None:
    """What a publisher could say in a user property is the most."""
    assert key("payload", make_envelope(payload=b"x" * 65_535)) == "x" * 65_535
    assert key("payload", make_envelope(payload=b"x" * 65_536)) is None
    assert "65535 are the most" in str(reported[0]["error"])


def test_failures_are_reported_once_a_minute(reported: list[dict[str, object]]) -> None:
    """With the number of all."""
    now = 1000.0
    failing = MessageKey(TRIGGER, "payload.a.b.c", lambda: now)
    for _ in range(5):
        failing.of(MESSAGE, {})
    now += 61
    failing.of(MESSAGE, {})

    assert [failure["failures"] for failure in reported] == [1, 6]


@pytest.mark.parametrize(
    "payload,expected",
    [
        (b'{"a": [1, 2.5, null]}', {"a": [1, 2.5, None]}),
        (b"21.5", 21.5),
        (b"hello", "hello"),
        ("grün".encode(), "grün"),
        (b"", ""),
        (b"\xff\x00", "/wA="),
        (b"[" * 3, "[[["),
        (b"[" * 100_000, "[" * 100_000),
        (b"[12345678901234567890, 9007199254740992]", ["12345678901234567890", 9007199254740992]),
        (b'{"id": -9007199254740993}', {"id": "-9007199254740993"}),
    ],
)
def test_the_payload_is_json_or_text_or_base64(payload: bytes, expected: Any) -> None:
    """Integers that JavaScript would round come as text, so that two of them are never one key."""
    assert MessageVariables(make_envelope(payload=payload), {})["payload"] == expected


def test_without_properties_there_is_nothing_in_them() -> None:
    """MQTT 3.1.1 has none; a payload that is no UTF-8 has no text."""
    variables = dict(MessageVariables(make_envelope(payload=b"\xff"), {}))

    assert (variables["user_properties"], variables["user_property"], variables["content_type"]) == ([], {}, None)
    assert variables["payload_text"] is None
