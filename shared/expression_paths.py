"""Plain property paths, literals, and template texts of paths, without an engine: pure.

`evaluate` means exactly what JavaScript means. Where that would take more than looking things up (methods, inherited
properties, unusual numbers in a text), it says ENGINE, and the engine evaluates the whole expression.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from shared.errors import ExpressionError


def words(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


class _Mark:
    """A value that is none of JSON's."""


UNDEFINED: Final = _Mark()
ENGINE: Final = _Mark()
"""Only an engine can tell."""

EXACT = 2**53
"""Integers up to here are exact in JavaScript."""
_PLAIN_FLOATS = (1e-4, 1e16)
"""Between these, and only there, Python and JavaScript write a number that is no integer the same way."""

# Reserved in some mode of the language, or of a meaning of their own: no name of a variable.
RESERVED = words(
    """arguments async await break case catch class const continue debugger default delete do else enum eval export
    extends false finally for function get if implements import in instanceof interface let new null of package private
    protected public return set static super switch this throw true try typeof undefined var void while with yield"""
)
_INHERITED = words(
    """__defineGetter__ __defineSetter__ __lookupGetter__ __lookupSetter__ __proto__ constructor hasOwnProperty
    isPrototypeOf propertyIsEnumerable toLocaleString toString valueOf"""
)
"""What every object has."""

_WORD = r"[A-Za-z_$][A-Za-z0-9_$]*"
_INDEX = r"0|[1-9][0-9]{0,8}"
_TEXT = r'"[^"\\\r\n]*"' + r"|'[^'\\\r\n]*'"
_STEP = re.compile(rf"(\?\.|\.)({_WORD})|(\?\.)?\[\s*(?:({_INDEX})|({_TEXT}))\s*\]")
_HEAD = re.compile(_WORD)
_LITERALS: dict[str, Any] = {"undefined": UNDEFINED, "null": None, "true": True, "false": False}
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,99})(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_HOLE = re.compile(r"\$\{([^{}`]*)\}")

Step = tuple[str | int, bool]
"""Property or index, and whether `?.` leads to it."""


class Path:
    """A variable, and the way to something in it."""

    def __init__(self, name: str, steps: tuple[Step, ...]) -> None:
        self._name = name
        self._steps = steps

    def evaluate(self, variables: Mapping[str, Any]) -> Any:
        """What is there; UNDEFINED; or ENGINE. Raises ExpressionError where JavaScript throws."""
        try:
            value = variables[self._name]
        except KeyError:
            return ENGINE
        for key, optional in self._steps:
            if value is None or value is UNDEFINED:
                if optional:
                    return UNDEFINED
                what = "null" if value is None else "undefined"
                raise ExpressionError(f"TypeError: cannot read property '{key}' of {what}")
            value = _property(value, key)
            if value is ENGINE:
                return ENGINE
        return value


class Literal:
    """A value that stands there."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def evaluate(self, _variables: Mapping[str, Any]) -> Any:
        """The value."""
        return self._value


class Template:
    """Text with holes."""

    def __init__(self, parts: list[str | Path | Literal]) -> None:
        self._parts = parts

    def evaluate(self, variables: Mapping[str, Any]) -> Any:
        """The text with what belongs into the holes; or ENGINE. Raises ExpressionError where JavaScript throws."""
        texts = []
        for part in self._parts:
            text = part if isinstance(part, str) else as_text(part.evaluate(variables))
            if text is None:
                return ENGINE
            texts.append(text)
        return "".join(texts)


def parse(text: str) -> Path | Literal | Template | None:
    """What the text is; None where an engine has to read it."""
    text = text.strip(" \t\r\n")
    if len(text) > 1 and text[0] == text[-1] == "`":
        return _template(text[1:-1])
    return _literal(text) or _path(text)


def as_javascript(value: Any) -> Any:
    """A value of JSON as it is after JavaScript had it: numbers are doubles, an integral one has no decimals.

    Raises RecursionError for a value that is nested too deeply, TypeError for one that JSON has not.
    """
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if kind is int:
        return value if -EXACT <= value <= EXACT else _rounded(value)
    if kind is float:
        return _rounded(value)
    if kind is dict:
        return {key: as_javascript(item) for key, item in value.items()}
    if kind is list:
        return [as_javascript(item) for item in value]
    raise TypeError(f"no value of JSON: {kind.__name__}")


def as_text(value: Any) -> str | None:
    """What JavaScript's `String` makes of a value; None where an engine has to say."""
    kind = type(value)
    if kind is str:
        return str(value)
    if kind is bool:
        return "true" if value else "false"
    if value is None or value is UNDEFINED:
        return "null" if value is None else "undefined"
    if kind is float and value.is_integer():
        value, kind = int(value), int
    if kind is int and -EXACT <= value <= EXACT:
        return str(value)
    if kind is float and _PLAIN_FLOATS[0] <= abs(value) < _PLAIN_FLOATS[1]:
        return repr(value)
    return None


def _rounded(value: float) -> Any:
    """The number that the double's shortest digits say; null where it is none."""
    try:
        double = float(value)
    except OverflowError:
        return None
    if double != double or double in (float("inf"), float("-inf")):  # noqa: PLR0124 - NaN
        return None
    if not double.is_integer() or abs(double) >= 1e21:  # noqa: PLR2004 - from here on JavaScript writes an exponent
        return double
    return int(double) if abs(double) <= EXACT else int(Decimal(repr(double)))


def _property(value: Any, key: str | int) -> Any:
    kind = type(value)
    if kind is dict:
        name = key if type(key) is str else str(key)
        if name in value:
            return value[name]
        return ENGINE if name in _INHERITED else UNDEFINED
    if kind is list or (kind is str and value.isascii()):
        if key == "length":
            return len(value)
        if type(key) is int:
            return value[key] if key < len(value) else UNDEFINED
    return ENGINE


def _literal(text: str) -> Literal | None:
    if text in _LITERALS:
        return Literal(_LITERALS[text])
    if re.fullmatch(_TEXT, text):
        return Literal(text[1:-1])
    number = _NUMBER.fullmatch(text)
    if number is None:
        return None
    return Literal(float(text) if number[1] or number[2] else int(text))


def _path(text: str) -> Path | None:
    head = _HEAD.match(text)
    if head is None or head[0] in RESERVED:
        return None
    steps: list[Step] = []
    at = head.end()
    while at < len(text):
        step = _STEP.match(text, at)
        if step is None:
            return None
        before, word, chained, index, quoted = step.groups()
        key = word or (int(index) if index else quoted[1:-1])
        steps.append((key, "?." in (before, chained)))
        at = step.end()
    return Path(head[0], tuple(steps))


def _template(inner: str) -> Template | None:
    parts: list[str | Path | Literal] = []
    at = 0
    for hole in _HOLE.finditer(inner):
        parts.append(inner[at : hole.start()])
        within = hole[1].strip(" \t\n")
        part = _literal(within) or _path(within)
        if part is None:
            return None
        parts.append(part)
        at = hole.end()
    parts.append(inner[at:])
    if any(isinstance(part, str) and re.search(r"[`\\\r]|\$\{", part) for part in parts):
        return None
    return Template(parts)
