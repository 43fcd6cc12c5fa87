"""Which messages a trigger wants by what is in them."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch.filters import PayloadFilter, contains
from shared.definitions import Filter

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=10,
)


def wants(payload: Any, *filters: tuple[str, Any], logic: Literal["and", "or"] = "and") -> bool:
    """Whether a payload, given as JSON or as bytes, passes these filters."""
    blob = payload if isinstance(payload, bytes) else msgspec.json.encode(payload)
    return PayloadFilter([Filter(key, value) for key, value in filters], logic).wants(blob)


@pytest.mark.parametrize(
    "value,wanted",
    [
        ({"a": 1, "b": 2}, {"a": 1}),
        ({"a": {"b": [1, 2], "c": 3}}, {"a": {"b": [2]}}),
        ([3, 1, 2], [1, 3]),
        ([{"id": 1, "x": 2}], [{"id": 1}]),
        ([[1, 2]], [[2]]),
        ([1], []),
        ({"a": 1}, {}),
        (1, 1.0),
        ("a", "a"),
        (None, None),
        (False, False),
    ],
)
def test_a_value_contains_what_is_wanted(value: Any, wanted: Any) -> None:
    """Keys and elements may be more than those that are asked for."""
    assert contains(value, wanted)


@pytest.mark.parametrize(
    "value,wanted",
    [
        ({"a": 1}, {"a": 2}), ({"a": 1}, {"b": None}), ([1], [1, 2]), ([1], 1), (1, [1]), ({}, []), ([], {}), (True, 1),
        (0, False), (1, True), ("1", 1), (None, False), (None, {}), ("a", "A"), ("abc", "b"),
    ],
)  # fmt: skip
def test_a_value_does_not_contain_another(value: Any, wanted: Any) -> None:
    """Kinds are told apart, truth values from numbers too; texts are compared whole."""
    assert not contains(value, wanted)


@given(VALUES)
def test_every_value_contains_itself(value: Any) -> None:
    """Whatever is in it."""
    assert contains(value, value)


@given(st.dictionaries(st.text(max_size=2), VALUES), st.dictionaries(st.text(max_size=2), VALUES))
def test_what_is_added_to_an_object_takes_no_match_away(value: dict[str, Any], more: dict[str, Any]) -> None:
    """A superset stays one."""
    assert contains(more | value, value)


def test_and_takes_all_filters_and_or_takes_one() -> None:
    """The trigger's `filter_logic`."""
    payload = {"kind": "alarm", "level": 3}

    assert wants(payload, ("kind", "alarm"), ("level", 3))
    assert not wants(payload, ("kind", "alarm"), ("level", 4))
    assert wants(payload, ("kind", "alarm"), ("level", 4), logic="or")
    assert not wants(payload, ("kind", "info"), ("level", 4), logic="or")


@pytest.mark.parametrize(
    "payload", [b"", b"alarm", b"\xff\x00", b"[1]", b'"kind"', b"3", b"null", b"NaN", b"{", b"[" * 100_000]
)
@pytest.mark.parametrize("logic", ["and", "or"])
def test_what_is_no_json_object_matches_nothing(payload: bytes, logic: Literal["and", "or"]) -> None:
    """Whatever the filter asks for: in doubt a message is not let in by a filter that it was never compared with."""
    assert not wants(payload, ("kind", None), logic=logic)


def test_a_missing_key_is_not_null() -> None:
    """A filter for null wants the key."""
    assert wants({"a": None}, ("a", None))
    assert not wants({}, ("a", None))


def test_a_filter_that_is_nested_beyond_reason_matches_nothing() -> None:
    """It is not the message that is wrong, but nobody fails over it."""
    deep: Any = 1
    for _ in range(900):
        deep = [deep]

    assert not wants({"a": deep}, ("a", deep))
