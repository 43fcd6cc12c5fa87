"""What a run came to, as JSON."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from worker.runners.child.headrace_child.outcome import (
    ResultTooLarge,
    declared_failure,
    describe,
    labels,
    settle,
    to_json,
)

LIMIT = 1000
ROOT = str(Path(__file__).parent)
NAME = Path(__file__).name


@pytest.mark.parametrize(
    "value,text",
    [
        ({"t": 21.5, "ok": True}, '{"t":21.5,"ok":true}'),
        ([1, (2, 3)], "[1,[2,3]]"),
        ("Grüße", '"Grüße"'),
        (b"\x00\xff", '"AP8="'),
        ({"a": b"\x00\xff"}, '{"a":"AP8="}'),
        ({"at": datetime(2026, 1, 2, tzinfo=UTC)}, '{"at":"2026-01-02 00:00:00+00:00"}'),
        ([float("nan"), float("inf"), -float("inf"), 1.5], "[null,null,null,1.5]"),
        ({"x": float("inf")}, '{"x":null}'),
        ({"x": float("nan")}, '{"x":null}'),
        ("a\0b", '"ab"'),
        ({"k\0": ["\0"]}, '{"k":[""]}'),
        ("a backslash and u0000: \\u0000", '"a backslash and u0000: \\\\u0000"'),
        ("NaN and Infinity", '"NaN and Infinity"'),
    ],
)
def test_results_are_compact_json_by_windmills_rules(value: Any, text: str) -> None:
    """Bytes as base64, what JSON does not know as text, no NaN, no U+0000, and strings that only look so untouched."""
    assert to_json(value, LIMIT) == text


def test_data_frames_become_rows() -> None:
    """Known by the name of their class: no library is imported for it."""

    class Values:
        def tolist(self) -> list[list[int]]:
            return [[1, 2]]

    pandas_like = type("DataFrame", (), {"values": Values()})()
    polars_like = type("DataFrame", (), {"rows": lambda _self: [(1, 2)]})()

    assert to_json(pandas_like, LIMIT) == "[[1,2]]"
    assert to_json({"table": polars_like}, LIMIT) == '{"table":[[1,2]]}'


def test_a_result_is_not_changed_by_encoding_it() -> None:
    """A script may keep what it returned."""
    result = {"a": b"1", "b": float("nan")}

    to_json(result, LIMIT)

    assert result["a"] == b"1"


def test_the_size_is_counted_in_bytes() -> None:
    """Of the JSON in UTF-8."""
    assert to_json("ü" * 499, LIMIT) == '"' + "ü" * 499 + '"'
    with pytest.raises(ResultTooLarge, match="1002 bytes"):
        to_json("ü" * 500, LIMIT)


@pytest.mark.parametrize("value", [{(1, 2): 3}, [[]]])
def test_what_has_no_json_at_all_is_an_error(value: Any) -> None:
    """A key that is a tuple; a list that holds itself."""
    if isinstance(value, list):
        value[0].append(value)

    with pytest.raises((TypeError, ValueError)):
        to_json(value, LIMIT)


def test_coroutines_are_awaited_and_generators_joined() -> None:
    """Also an asynchronous generator, and a coroutine that gives a generator."""

    def parts() -> Iterator[Any]:
        yield "a"
        yield 1

    async def later() -> Any:
        return parts()

    async def async_parts() -> AsyncIterator[str]:
        yield "b"
        yield "c"

    assert settle(parts()) == "a1"
    assert settle(later()) == "a1"
    assert settle(async_parts()) == "bc"
    assert settle([1]) == [1]


def test_a_result_may_declare_a_failure_and_labels() -> None:
    """`wm_failure` counts as text only, of `wm_labels` its texts."""
    assert declared_failure({"wm_failure": "too hot"}) == {"name": "ManualFailure", "message": "too hot"}
    assert declared_failure({"wm_failure": None}) is None
    assert declared_failure("wm_failure") is None
    assert labels({"wm_labels": ["north", 7, "b"]}) == ["north", "b"]
    assert labels({"wm_labels": "north"}) == []
    assert labels(["wm_labels"]) == []


class Refused(Exception):  # noqa: D101
    def __init__(self, code: int) -> None:
        super().__init__("the tank refused")
        self.code = code
        self.tags = ["a"]
        self.handle = object()
        self._private = 1


def caught(error: Exception) -> BaseException:
    """The exception, raised and caught."""
    with pytest.raises(type(error)) as info:
        raise error
    return info.value


def test_an_error_is_told_with_name_message_stack_and_attributes() -> None:
    """Attributes as far as they are JSON and public, paths relative to the workspace."""
    described = describe(caught(Refused(7)), ROOT)

    assert described["name"] == "Refused"
    assert described["message"] == "the tank refused"
    assert described["extra"] == {"code": 7, "tags": ["a"]}
    assert f'File "{NAME}", line ' in described["stack"]
    assert ROOT not in described["stack"]


def test_frames_before_the_users_own_are_left_out() -> None:
    """Those after it stay, also in libraries."""
    try:
        json.loads("{")
    except ValueError as error:
        inside, elsewhere = describe(error, ROOT), describe(error, "/nowhere")

    assert inside["stack"].splitlines()[1].startswith(f'  File "{NAME}"')
    assert "decoder.py" in inside["stack"]
    assert "File" not in elsewhere["stack"]
    assert "JSONDecodeError" in elsewhere["stack"]


def test_causes_are_told_too() -> None:
    """`raise … from …` is how the user says why."""
    error = RuntimeError("alarm failed")
    error.__cause__ = caught(LookupError("no such tank"))

    stack = describe(caught(error), ROOT)["stack"]

    assert "LookupError: no such tank" in stack
    assert "direct cause" in stack


def test_an_exception_that_cannot_be_told_is_told_nevertheless() -> None:
    """Whatever its methods raise."""

    class Hostile(Exception):
        def __str__(self) -> str:
            return str(1 / 0)

    described = describe(caught(Hostile()), ROOT)

    assert described["name"] == "Hostile"
    assert "ZeroDivisionError" in described["message"]


def test_long_errors_are_cut() -> None:
    """The start of the message and the end of the stack are kept."""
    described = describe(caught(ValueError("a" * 100_000 + "b")), ROOT)

    assert described["message"] == "a" * 65536
    assert described["stack"].endswith("b\n")
    assert len(described["stack"]) == 65536
