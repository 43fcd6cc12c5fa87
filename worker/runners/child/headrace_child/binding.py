"""How a run's data become the arguments of the user's functions (Windmill's rules for Python scripts).

Only declared parameters are passed; a missing or null one takes its default, or None where it has none; `**kwargs`
takes the rest. An annotation of bytes, datetime or date converts, every other one is for the reader; only the function
that is called first converts: after a preprocessor, main gets what it returned as it is.
"""

from __future__ import annotations

import base64
import inspect
import json
import types
import typing
from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime
from typing import Any

from .outcome import ScriptFault

Function = Callable[..., Any]

_NOT_GIVEN = "<function call>"  # Windmill's mark for an argument that was to be computed
_DATE_FORMATS = ("%d-%m-%Y", "%m/%d/%Y", "%d/%m/%Y", "%Y/%m/%d")


class PayloadError(ScriptFault):
    """The payload is not in the form that the trigger promises."""


class ArgumentsError(ScriptFault):
    """The arguments of a run are not an object."""


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

    def without_default(self, given: str) -> list[str]:
        """The parameters that a call with `given` alone leaves at None."""
        return [p.name for p in self._named if p.name != given and p.default is p.empty]

    def bind(self, values: Mapping[str, Any], *, converts: bool = True) -> tuple[list[Any], dict[str, Any]]:
        """The positional and the keyword arguments of a call with `values`.

        Raises ValueError, naming the parameter, when a value cannot become what its parameter is declared as.
        """
        positions: list[Any] = []
        keywords: dict[str, Any] = {}
        for parameter in self._named:
            value = values.get(parameter.name)
            if value is None or _is_not_given(value):
                value = None if parameter.default is parameter.empty else parameter.default
            elif converts:
                value = _convert(parameter.name, value, self._types[parameter.name])
            if parameter.kind is parameter.POSITIONAL_ONLY:
                positions.append(value)
            else:
                keywords[parameter.name] = value
        if self.takes_rest:
            rest = ((name, value) for name, value in values.items() if name not in self.names)
            keywords.update((name, value) for name, value in rest if not _is_not_given(value))
        return positions, keywords


def payload_call(function: Function, form: str = "windmill") -> Callable[[bytes], Any]:
    """Calls `function` with a message's payload, in the form that the trigger asks for: raw where the parameter is
    declared as bytes, else base64 text (`windmill`, `base64`), UTF-8 text (`text`) or what its JSON holds (`json`).

    The call raises PayloadError for a payload that has no such form.
    """
    binder = Binder(function)
    decode = bytes if binder.wants_bytes("payload") else _FORMS[form]
    if binder.takes_positions:
        return lambda payload: _call(function, binder, {"payload": decode(payload)})
    others = binder.bind({})[1]
    if "payload" not in binder.names and not binder.takes_rest:
        return lambda _payload: function(**others)
    others.pop("payload", None)
    if form in _PLAIN_FORMS or decode is bytes:
        return lambda payload: function(payload=decode(payload), **others)
    return lambda payload: _call(function, binder, {"payload": decode(payload)})


def arguments_call(function: Function, *, converts: bool = True) -> Callable[[Mapping[str, Any]], Any]:
    """Calls `function` with named arguments: a run's own, or, not to be converted, what a preprocessor returned."""
    binder = Binder(function)

    def call(arguments: Mapping[str, Any]) -> Any:
        positions, keywords = binder.bind(arguments, converts=converts)
        return function(*positions, **keywords)

    return call


def read_arguments(text: bytes) -> dict[str, Any]:
    """The arguments of a run that no message made. Raises ArgumentsError when they are no JSON object."""
    try:
        arguments = json.loads(text)
    except ValueError as error:
        raise ArgumentsError(f"the arguments are not JSON: {error}") from None
    if not isinstance(arguments, dict):
        raise ArgumentsError(f"the arguments are {type(arguments).__name__}, expected an object of main's parameters")
    return arguments


def not_given(function: Function) -> str:
    """One line that warns of what a message leaves at None; '' where there is nothing to warn of."""
    missing = Binder(function).without_default("payload")
    if not missing:
        return ""
    names, they = (missing[0], "it is") if len(missing) == 1 else (", ".join(missing), "they are")
    return (
        f"[headrace] main declares {names}, but a message gives only payload: {they} None. "
        "Give a default, read headrace.run, or write a preprocessor."
    )


def event_call(function: Function) -> Callable[[dict[str, Any], bytes], Any]:
    """Calls a preprocessor with an event and the payload.

    Windmill's first form, `wm_trigger` and a payload of ints, for a function that declares `wm_trigger` or has
    parameters of which none is `event`; else `event` with the payload in base64.
    """
    binder = Binder(function)
    return lambda event, payload: _call(function, binder, event_values(binder.names, event, payload))


def event_values(names: Collection[str], event: dict[str, Any], payload: bytes) -> dict[str, Any]:
    """The arguments by name of a preprocessor with these parameters."""
    if "wm_trigger" in names or (names and "event" not in names):
        return _first_form(event, payload)
    return {"event": {**event, "payload": _base64(payload)}}


def payload_value(payload: bytes, form: str) -> Any:
    """The payload in the form that the trigger asks for. Raises PayloadError for one that has no such form."""
    return _FORMS[form](payload)


def _first_form(event: dict[str, Any], payload: bytes) -> dict[str, Any]:
    kind = event["kind"]
    about = {name: value for name, value in event.items() if name != "kind"}
    return {"payload": list(payload), "wm_trigger": {"kind": kind, kind: about}}


def _is_not_given(value: Any) -> bool:
    return isinstance(value, str) and value == _NOT_GIVEN


def _json(payload: bytes) -> Any:
    try:
        return json.loads(_text(payload), parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise PayloadError(f"the payload is not JSON, as the trigger says: {error.msg} ({where})") from None
    except ValueError as error:  # a number of more digits than Python reads
        raise PayloadError(f"the payload is not JSON that can be read: {error}") from None
    except RecursionError:
        raise PayloadError("the payload is not JSON that can be read: it is nested too deeply") from None


def _no_constant(name: str) -> Any:
    raise PayloadError(f"the payload is not JSON, as the trigger says: {name} is no number of JSON")


def _text(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError as error:
        problem = f"byte {error.start} is 0x{payload[error.start]:02x}"
        raise PayloadError(f"the payload is not UTF-8 text, as the trigger says: {problem} ({error.reason})") from None


def _base64(payload: bytes) -> str:
    return base64.b64encode(payload).decode()


_FORMS: dict[str, Callable[[bytes], Any]] = {"windmill": _base64, "base64": _base64, "text": _text, "json": _json}
_PLAIN_FORMS = ("windmill", "base64")
FORMS = tuple(_FORMS)


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
