"""What a step of a flow consists of, read key by key: input transforms, conditions, numbers that may be computed.

Everything that must be looked at again when the whole flow is known is kept in `Found`, with its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from shared.flow_names import Place
from shared.openflow import MAX_SECONDS, Inputs, InputTransform, JavaScript, Mock, SkipIf, Static, StopAfterIf
from shared.workspace.yaml_lines import Table

_LEAST_TIMEOUT_S = 0.001
MAX_AT_ONCE = 10_000


class Written(msgspec.Struct, frozen=True):
    """An expression, and where it stands; `step` is '' for one of the flow itself."""

    text: str
    place: Place
    step: str
    file: str
    line: int
    key: str


class Called(msgspec.Struct, frozen=True):
    """A script or flow of the workspace that a step names."""

    step: str
    path: str
    is_flow: bool
    file: str
    line: int
    key: str


class Code(msgspec.Struct, frozen=True):
    """A step's own code: the table that holds it, and the word for its language."""

    step: str
    language: str
    table: Table


class Found:
    """What is met while one flow is read: expressions, names, code, the line of each id."""

    def __init__(self) -> None:
        self.expressions: list[Written] = []
        self.called: list[Called] = []
        self.code: list[Code] = []
        self.ids: dict[str, int] = {}

    def inputs(self, table: Table, step: str) -> Inputs:
        """`input_transforms`."""
        if (inputs := table.table("input_transforms")) is None:
            return {}
        read = {name: self.transform(inputs, name, "input", step, required=True) for name in inputs.names()}
        return {name: transform for name, transform in read.items() if transform is not None}

    def transform(
        self, table: Table, key: str, place: Place, step: str, *, required: bool = False
    ) -> InputTransform | None:
        """A static value or an expression."""
        if (inner := table.table(key, required=required)) is None:
            return None
        kind = inner.choice("type", {"static": "static", "javascript": "javascript", "ai": "ai"}, required=True)
        if kind == "static":
            value = inner.data("value")
            inner.allow("expr")  # Windmill's editor leaves it there
            inner.close()
            return Static(value)
        if kind == "javascript":
            expr = self.expression(inner, "expr", place, step, required=True)
            inner.allow("value")
            inner.close()
            return None if expr is None else JavaScript(expr)
        if kind == "ai":
            inner.error("type", "ai is not supported", "write static or javascript")
        return None

    def number(self, table: Table, key: str, step: str, most: int = MAX_SECONDS) -> InputTransform | None:
        """`timeout`, `sleep` or `parallelism`: a transform, or the number itself."""
        places: Mapping[str, Place] = {"timeout": "timeout", "sleep": "sleep", "parallelism": "parallelism"}
        value = table.data(key)
        found = Static(value)
        if isinstance(value, dict):
            transform = self.transform(table, key, places[key], step)
            if not isinstance(transform, Static):
                return transform
            found = transform
        if found.value is None:
            return None
        if (wanted := _wrong_number(key, found.value, most)) is not None:
            table.error(key, f"is {found.value!r}, expected {wanted}, or an input transform")
            return None
        return found

    def stop(self, table: Table, key: str, step: str) -> StopAfterIf | None:
        """`stop_after_if`, or `stop_after_all_iters_if`."""
        if (inner := table.table(key)) is None:
            return None
        place: Place = "stop_after_if" if key == "stop_after_if" else "stop_after_all_iters_if"
        expr = self.expression(inner, "expr", place, step, required=True)
        skip, include = inner.flag("skip_if_stopped") is True, inner.flag("error_include_result") is True
        message = inner.text("error_message")
        inner.close()
        return None if expr is None else StopAfterIf(expr, skip, message, include)

    def skip(self, table: Table, step: str) -> SkipIf | None:
        """`skip_if`."""
        if (inner := table.table("skip_if")) is None:
            return None
        expr = self.expression(inner, "expr", "skip_if", step, required=True)
        inner.close()
        return None if expr is None else SkipIf(expr)

    def mock(self, table: Table) -> Mock | None:
        """`mock`."""
        if (inner := table.table("mock")) is None:
            return None
        found = Mock(inner.flag("enabled") is True, inner.data("return_value"))
        inner.close()
        return found

    def expression(self, table: Table, key: str, place: Place, step: str, *, required: bool = False) -> str | None:
        """A text that is JavaScript; it is checked when the whole flow is known."""
        text = table.text(key, required=required)
        if text is not None:
            self.note(table, key, place, step, text)
        return text

    def note(self, table: Table, key: str, place: Place, step: str, text: str) -> None:
        """Keep an expression."""
        self.expressions.append(Written(text, place, step, table.file, table.line(key), table.key(key)))


def _wrong_number(key: str, value: Any, most: int) -> str | None:
    """What it should be; None: it is that."""
    is_whole = key == "parallelism"
    kinds = int if is_whole else int | float
    is_number = isinstance(value, kinds) and not isinstance(value, bool)
    if is_number and (0 if key == "sleep" else 1 if is_whole else _LEAST_TIMEOUT_S) <= value <= most:
        return None
    if is_whole:
        return f"a whole number from 1 to {most}"
    return f"a number from 0 to {most}" if key == "sleep" else f"a number above 0, {most} at most"
