"""How a run's data become the arguments of the user's functions (Windmill's rules for Python scripts).

Only declared parameters are passed; a missing or null one takes its default, or None where it has none; `**kwargs`
takes the rest. An annotation of bytes, datetime or date converts, every other one is for the reader.
"""

from __future__ import annotations

import base64
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

Function = Callable[..., Any]

_DATE_FORMATS = ("%d-%m-%Y", "%m/%d/%Y", "%d/%m/%Y", "%Y/%m/%d")


class Binder:
    """The parameters of one function, and what they need."""

    def __init__(self, function: Function) -> None:
        parameters = inspect.signature(function).parameters.values()
        scope = getattr(inspect.unwrap(function), "__globals__", {})
        self._named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        self._types = {p.name: _plain_type(p.annotation, scope) for p in self._named}
        self.names = frozenset(self._types)
        self.takes_rest = any(p.kind is p.VAR_KEYWORD for p in parameters)
        self.takes_positions = any(p.kind is p.POSITIONAL_ONLY for p in self._named)

    def wants_bytes(self, name: str) -> bool:
        """Whether this parameter is declared, and as bytes."""
        return self._types.get(name) is bytes

    def bind(self, values: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """The positional and the keyword arguments of a call with `values`.

        Raises ValueError, naming the parameter, when a value cannot become what its parameter is declared as.
        """
        positions: list[Any] = []
        keywords: dict[str, Any] = {}
        for parameter in self._named:
            value = values.get(parameter.name)
            if value is None:
                value = None if parameter.default is parameter.empty else parameter.default
            else:
                value = _convert(parameter.name, value, self._types[parameter.name])
            if parameter.kind is parameter.POSITIONAL_ONLY:
                positions.append(value)
            else:
                keywords[parameter.name] = value
        if self.takes_rest:
            keywords.update((name, value) for name, value in values.items() if name not in self.names)
        return positions, keywords


def payload_call(function: Function) -> Callable[[bytes], Any]:
    """Calls `function` with a message's payload: base64 text, raw where the parameter is declared as bytes."""
    binder = Binder(function)
    if binder.takes_positions:
        return lambda payload: _call(function, binder, {"payload": base64.b64encode(payload).decode()})
    if "payload" not in binder.names and not binder.takes_rest:
        others = binder.bind({})[1]
        return lambda _payload: function(**others)
    others = binder.bind({})[1]
    others.pop("payload", None)
    if binder.wants_bytes("payload"):
        return lambda payload: function(payload=payload, **others)
    encode = base64.b64encode
    return lambda payload: function(payload=encode(payload).decode(), **others)


def arguments_call(function: Function) -> Callable[[Mapping[str, Any]], Any]:
    """Calls `function` with what a preprocessor returned."""
    binder = Binder(function)
    return lambda arguments: _call(function, binder, arguments)


def event_call(function: Function) -> Callable[[dict[str, Any], bytes], Any]:
    """Calls a preprocessor with an event and the payload.

    Windmill's first form, `wm_trigger` and a payload of ints, for a function that declares `wm_trigger` or has
    parameters of which none is `event`; else `event` with the payload in base64.
    """
    binder = Binder(function)
    if "wm_trigger" in binder.names or (binder.names and "event" not in binder.names):
        return lambda event, payload: _call(function, binder, _first_form(event, payload))
    return lambda event, payload: _call(
        function, binder, {"event": {**event, "payload": base64.b64encode(payload).decode()}}
    )


def _first_form(event: dict[str, Any], payload: bytes) -> dict[str, Any]:
    kind = event["kind"]
    about = {name: value for name, value in event.items() if name != "kind"}
    return {"payload": list(payload), "wm_trigger": {"kind": kind, kind: about}}


def _call(function: Function, binder: Binder, values: Mapping[str, Any]) -> Any:
    positions, keywords = binder.bind(values)
    return function(*positions, **keywords)


def _plain_type(annotation: Any, scope: dict[str, Any]) -> Any:
    """The type behind `X | None`, `Optional[X]`, `Annotated[X, …]` and the text of any of them; else as it stands."""
    if isinstance(annotation, str):
        try:
            return _plain_type(eval(annotation, scope), scope)  # noqa: S307 - the script's text in the script's process
        except Exception:  # noqa: BLE001 - a name that exists for type checkers only
            return None
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _plain_type(annotation.__origin__, scope)
    if origin in (typing.Union, types.UnionType):
        members = [member for member in typing.get_args(annotation) if member is not types.NoneType]
        return _plain_type(members[0], scope) if len(members) == 1 else None
    return annotation


def _convert(name: str, value: Any, wanted: Any) -> Any:
    converter = _CONVERTERS.get(wanted) if isinstance(wanted, type) else None
    if converter is None or not isinstance(value, str | list):
        return value
    try:
        return converter(value)
    except (ValueError, TypeError) as error:
        raise ValueError(f"parameter {name!r} is declared as {wanted.__name__}, and {value!r:.80} is none") from error


def _to_bytes(value: str | list[int]) -> bytes:
    return bytes(value) if isinstance(value, list) else base64.b64decode(value, validate=True)


def _to_date(value: str) -> date:
    try:
        return date.fromisoformat(value)
    except ValueError:
        for form in _DATE_FORMATS:
            try:
                return datetime.strptime(value, form).date()  # noqa: DTZ007 - a date has no zone
            except ValueError:
                continue
        raise


_CONVERTERS: dict[type, Callable[[Any], Any]] = {
    bytes: _to_bytes,
    datetime: datetime.fromisoformat,
    date: _to_date,
}
