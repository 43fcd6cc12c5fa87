"""How data become the arguments of user code."""

from __future__ import annotations

import base64
from datetime import date, datetime, timedelta, timezone
from typing import Annotated, Any, Optional

import pytest

from worker.runners.child.headrace_child.binding import Binder, arguments_call, event_call, payload_call

PAYLOAD = b'{"t": 21.5}'
TEXT = base64.b64encode(PAYLOAD).decode()
EVENT: dict[str, Any] = {"kind": "mqtt", "trigger_path": "f/iot/temp", "topic": "plant/7/temp", "qos": 1, "v5": None}


def test_an_undeclared_payload_is_base64_text() -> None:
    """As Windmill gives it, whatever else the annotation says."""

    def main(payload):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        return payload

    def typed(payload: str) -> str:
        return payload

    assert payload_call(main)(PAYLOAD) == TEXT
    assert payload_call(typed)(PAYLOAD) == TEXT


def test_an_argument_that_is_marked_as_not_given_takes_its_default() -> None:
    """Windmill's mark for a value that was to be computed; elsewhere the text is a text."""

    def main(limit: int = 30, must: Any = "must", **rest: Any) -> Any:
        return limit, must, rest

    def bare(must: Any) -> Any:
        return must

    marked = "<function call>"
    given = {"limit": marked, "must": [marked], "more": marked, "kept": 1}
    assert arguments_call(main)(given) == (30, [marked], {"kept": 1})
    assert arguments_call(bare)({"must": marked}) is None


def bytes_as_text(payload: "bytes") -> bytes:  # noqa: UP037, D103
    return payload


def bytes_or_none(payload: bytes | None = None) -> bytes | None:  # noqa: D103
    return payload


def optional_bytes(payload: Optional[bytes] = None) -> bytes | None:  # noqa: UP045, D103
    return payload


def annotated_bytes(payload: Annotated[bytes, "raw"]) -> bytes:  # noqa: D103
    return payload


def only_by_position(payload: bytes, /) -> bytes:  # noqa: D103
    return payload


def only_by_name(*, payload: bytes) -> bytes:  # noqa: D103
    return payload


@pytest.mark.parametrize(
    "main", [bytes_as_text, bytes_or_none, optional_bytes, annotated_bytes, only_by_position, only_by_name]
)
def test_a_payload_declared_as_bytes_is_raw(main: Any) -> None:
    """In every way to write it; this module's annotations are all text, by its __future__ import."""
    assert payload_call(main)(PAYLOAD) == PAYLOAD
    assert payload_call(main)(b"") == b""


def test_annotations_that_exist_for_type_checkers_only_are_passed_over() -> None:
    """They convert nothing and hinder no other."""

    def main(payload: bytes, client: NoSuchName = 1) -> Any:  # type: ignore[name-defined]  # noqa: F821
        return payload, client

    assert payload_call(main)(PAYLOAD) == (PAYLOAD, 1)


def test_only_declared_parameters_are_passed() -> None:
    """A main without a payload gets none; other parameters take their default, or None."""

    def none() -> str:
        return "called"

    def others(payload: bytes, unit, scale=2.0, *more, deep=(1,)) -> Any:  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN002
        return payload, unit, scale, more, deep

    assert payload_call(none)(PAYLOAD) == "called"
    assert payload_call(others)(PAYLOAD) == (PAYLOAD, None, 2.0, (), (1,))


def test_keywords_take_the_rest() -> None:
    """`**kwargs` gets what no parameter is named after."""

    def main(site: str, **rest: Any) -> Any:
        return site, rest

    assert payload_call(main)(PAYLOAD) == (None, {"payload": TEXT})
    assert arguments_call(main)({"site": "north", "t": 1, "u": None}) == ("north", {"t": 1, "u": None})


def test_a_missing_or_null_argument_takes_the_default_or_none() -> None:
    """As Windmill does it."""

    def main(site: str, t: float = 1.5, unit: str = "C") -> Any:
        return site, t, unit

    assert arguments_call(main)({"t": None, "extra": 1}) == (None, 1.5, "C")


def test_dates_and_bytes_are_converted_by_their_annotation() -> None:
    """From text; a value that is one already passes through."""

    def main(at: datetime, day: Optional[date], body: bytes, other: dict[str, Any]) -> Any:  # noqa: UP045
        return at, day, body, other

    when = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=1)))
    call = arguments_call(main)

    assert call({"at": "2026-01-02T03:04:05+01:00", "day": "2026-01-02", "body": TEXT, "other": {"a": 1}}) == (
        when,
        date(2026, 1, 2),
        PAYLOAD,
        {"a": 1},
    )
    assert call({"at": when, "day": when.date(), "body": PAYLOAD}) == (when, when.date(), PAYLOAD, None)
    assert call({"body": [1, 2]})[2] == b"\1\2"


@pytest.mark.parametrize("text", ["2026-01-31", "31-01-2026", "01/31/2026", "31/01/2026", "2026/01/31"])
def test_a_date_may_be_written_in_windmills_five_ways(text: str) -> None:
    """ISO first, then its fall-back formats in their order."""

    def main(day: date) -> date:
        return day

    assert arguments_call(main)({"day": text}) == date(2026, 1, 31)


@pytest.mark.parametrize("name,value", [("at", "yesterday"), ("day", "32-01-2026"), ("body", "%%%"), ("body", [300])])
def test_a_value_that_cannot_be_converted_is_named(name: str, value: Any) -> None:
    """With its parameter and what it is declared as."""

    def main(at: datetime | None = None, day: date | None = None, body: bytes | None = None) -> None:
        pass

    with pytest.raises(ValueError, match=f"parameter '{name}' is declared as"):
        arguments_call(main)({name: value})


def test_an_event_is_given_with_its_payload() -> None:
    """Windmill's second form: what `preprocessor(event)` gets; the caller's event stays as it was."""

    def preprocessor(event: dict[str, Any]) -> Any:
        return event

    assert event_call(preprocessor)(EVENT, PAYLOAD) == {**EVENT, "payload": TEXT}
    assert "payload" not in EVENT


def test_a_preprocessor_without_event_gets_the_first_form() -> None:
    """With `wm_trigger`, or with parameters of which none is called event; a payload of ints, raw as bytes."""

    def with_trigger(payload, wm_trigger, event=None) -> Any:  # type: ignore[no-untyped-def]  # noqa: ANN001
        return payload, wm_trigger, event

    def payload_only(payload) -> Any:  # type: ignore[no-untyped-def]  # noqa: ANN001
        return payload

    def raw(payload: bytes) -> bytes:
        return payload

    about = {name: value for name, value in EVENT.items() if name != "kind"}

    assert event_call(with_trigger)(EVENT, b"{t") == ([123, 116], {"kind": "mqtt", "mqtt": about}, None)
    assert event_call(payload_only)(EVENT, b"{t") == [123, 116]
    assert event_call(raw)(EVENT, b"{t") == b"{t"


def test_a_preprocessor_without_parameters_is_called_bare() -> None:
    """The second form, of which it declares nothing."""

    def preprocessor() -> dict[str, int]:
        return {"a": 1}

    assert event_call(preprocessor)(EVENT, PAYLOAD) == {"a": 1}


def test_a_wrapped_function_is_bound_by_what_it_wraps() -> None:
    """Decorators that keep the signature keep the conversion."""
    from functools import wraps  # noqa: PLC0415

    @wraps(bytes_as_text)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return bytes_as_text(*args, **kwargs)

    assert Binder(wrapper).wants_bytes("payload")
    assert payload_call(wrapper)(PAYLOAD) == PAYLOAD
