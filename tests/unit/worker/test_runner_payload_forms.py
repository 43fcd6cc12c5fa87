"""The payload in the form that a trigger asks for, and the arguments of runs that no message made."""

from __future__ import annotations

import base64
from datetime import date
from typing import Any

import pytest

from worker.runners.child.headrace_child.binding import (
    ArgumentsError,
    PayloadError,
    arguments_call,
    not_given,
    payload_call,
    read_arguments,
)
from worker.runners.child.headrace_child.outcome import ResultTooLarge, stream_json, streamed


def main(payload: Any, unit: str = "C") -> Any:  # noqa: D103
    return payload, unit


def raw(payload: bytes) -> bytes:  # noqa: D103
    return payload


def test_a_payload_comes_in_the_form_that_the_trigger_asks_for() -> None:
    """JSON decoded, UTF-8 text, or base64 as Windmill's."""
    payload = '{"t": [21.5, "ü"]}'.encode()
    text = base64.b64encode(payload).decode()

    assert payload_call(main, "json")(payload) == ({"t": [21.5, "ü"]}, "C")
    assert payload_call(main, "text")(payload) == ('{"t": [21.5, "ü"]}', "C")
    assert payload_call(main, "base64")(payload) == payload_call(main, "windmill")(payload) == (text, "C")


@pytest.mark.parametrize("form", ["json", "text", "base64", "windmill"])
def test_a_parameter_declared_as_bytes_is_raw_in_every_form(form: str) -> None:
    """Also where the bytes are neither JSON nor text."""
    assert payload_call(raw, form)(b"\xff\x00") == b"\xff\x00"


def test_other_annotations_convert_the_decoded_payload() -> None:
    """A date in JSON; null takes the default; keywords take the payload too."""

    def day(payload: date = date(2000, 1, 1)) -> date:
        return payload

    def rest(**kwargs: Any) -> Any:
        return kwargs

    assert payload_call(day, "json")(b'"2026-01-02"') == date(2026, 1, 2)
    assert payload_call(day, "json")(b"null") == date(2000, 1, 1)
    assert payload_call(rest, "json")(b"1") == {"payload": 1}


@pytest.mark.parametrize(
    "form,payload,message",
    [
        ("json", b'{"t": 1,\n "u" 2}', r"not JSON.*\(line 2, column 6\)"),
        ("json", b"", r"not JSON.*\(line 1, column 1\)"),
        ("json", b"NaN", "NaN is no number of JSON"),
        ("json", b"[" * 100_000, "nested too deeply"),
        ("json", b"1" * 5000, "not JSON that can be read"),
        ("json", b'"\xff"', "not UTF-8 text.*byte 1 is 0xff"),
        ("text", b"ab\xfe", "not UTF-8 text.*byte 2 is 0xfe"),
    ],
)
def test_a_payload_that_is_not_what_the_trigger_says_is_an_error_with_its_place(
    form: str, payload: bytes, message: str
) -> None:
    """For whoever has to find the device that sent it."""
    with pytest.raises(PayloadError, match=message):
        payload_call(main, form)(payload)


def test_what_was_to_be_computed_and_was_not_takes_the_default() -> None:
    """Windmill's mark for it, for parameters and for keywords."""

    def keywords(**rest: Any) -> Any:
        return rest

    assert arguments_call(main)({"payload": 1, "unit": "<function call>"}) == (1, "C")
    assert arguments_call(keywords)({"a": "<function call>", "b": 2}) == {"b": 2}


def test_after_a_preprocessor_nothing_is_converted() -> None:
    """The function that is called first converts, and that was the preprocessor; defaults hold."""

    def declared(day: date, unit: str = "C") -> Any:
        return day, unit

    assert arguments_call(declared, converts=False)({"day": "2026-01-02", "unit": None}) == ("2026-01-02", "C")


def test_the_arguments_of_a_run_are_an_object() -> None:
    """Anything else names what it is."""
    assert read_arguments(b'{"a": 1}') == {"a": 1}
    with pytest.raises(ArgumentsError, match="the arguments are list"):
        read_arguments(b"[]")
    with pytest.raises(ArgumentsError, match="not JSON"):
        read_arguments(b"{")


def test_parameters_that_a_message_leaves_empty_are_named() -> None:
    """Only those without a default."""

    def two(payload: bytes, topic: str, qos: int, retain: bool = False) -> None:  # noqa: FBT001, FBT002
        pass

    assert "main declares topic, qos, but a message gives only payload: they are None" in not_given(two)
    assert not_given(main) == ""


def test_a_streamed_result_leaves_the_log() -> None:
    """Each line is a part; newlines come back."""
    assert streamed("before\nWM_STREAM: a\nWM_STREAM: b\\nc\nafter\n") == ("ab\nc", "before\nafter\n")
    assert streamed("says WM_STREAM: in the middle\n") == (None, "says WM_STREAM: in the middle\n")


def test_a_streamed_result_that_is_not_complete_is_none() -> None:
    """It went by way of a log that is bounded."""
    assert stream_json("abc", 100, 0) == '"abc"'
    with pytest.raises(ResultTooLarge, match="7 bytes"):
        stream_json("abc", 100, 7)
