"""The short way through paths and template texts against the engine, and pure expressions against new worlds."""

from __future__ import annotations

from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shared.errors import ExpressionError
from shared.expression_engine import Limits
from shared.expression_paths import as_javascript
from shared.expressions import Expression, check, compile_expression

NAMES = ["a", "b", "length", "toString", "__proto__", "constructor", "0", "if"]
NUMBERS = st.integers() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(st.characters(codec="utf-8"), max_size=3)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
)
STEPS = st.sampled_from(
    [*[f".{name}" for name in NAMES if name != "0"], "?.a", "['a']", '["0"]', "[0]", "[1]", "?.[0]", "?.['length']"]
)
PATHS = st.builds(lambda steps: "v" + "".join(steps), st.lists(STEPS, max_size=4))
LITERALS = st.sampled_from(["null", "true", "undefined", "'x'", "-1.50", "1e21", "123456789012345678901", "0.00001"])
TEXTS = st.text(st.sampled_from("a ${}.\n'\u20ac"), max_size=4)
TEMPLATES = st.builds(
    lambda parts: "`" + "".join(f"{text}${{{hole}}}" for text, hole in parts) + "`",
    st.lists(st.tuples(TEXTS, PATHS | LITERALS), max_size=3),
)
QUICK = settings(max_examples=300, deadline=None)
PATIENT = Limits(time_s=5.0)


def outcome(expression: Expression, variables: dict[str, Any]) -> object:
    """The result with its kind, or the kind of error."""
    try:
        result = expression.evaluate(variables, PATIENT)
    except ExpressionError as error:
        return str(error.fields["problem"]).split(" (", maxsplit=1)[0]
    return kinds(as_javascript(result))  # a plain path leaves numbers as they are


def kinds(value: Any) -> object:
    """A value in which 1, 1.0 and True differ."""
    if isinstance(value, list):
        return [kinds(item) for item in value]
    if isinstance(value, dict):
        return {key: kinds(item) for key, item in value.items()}
    return type(value), value


def in_a_new_world(text: str) -> Expression:
    """The same expression, read by the engine, in a world of its own."""
    expression = compile_expression(text)
    expression._plain, expression._pure = None, False
    return expression


@QUICK
@given(PATHS | LITERALS | TEMPLATES, VALUES)
def test_the_short_way_leads_where_the_engine_leads(text: str, value: Any) -> None:
    """Same results, same errors."""
    assume(check(text) is None)
    variables = {"v": value}

    assert outcome(compile_expression(text), variables) == outcome(in_a_new_world(text), variables)


@QUICK
@given(PATHS | LITERALS | TEMPLATES)
def test_the_short_way_is_only_taken_by_javascript(text: str) -> None:
    """What is read without the engine, the engine reads too."""
    if check(text) is None:
        assert "SyntaxError" not in str(outcome(in_a_new_world(text), {"v": {}}))


BINARY = st.sampled_from(["+", "-", "*", "**", "%", "<", ">=", "===", "!=", "&&", "||", "??", "in", "&", ">>>", ","])
METHODS = st.sampled_from([".join('-')", ".split('')", ".slice(1)", ".at(-1)", ".toFixed(1)", "?.concat(v)", ".length"])
PURE = st.recursive(
    PATHS | LITERALS | TEMPLATES,
    lambda inner: st.one_of(
        st.builds(lambda left, operator, right: f"(({left}) {operator} ({right}))", inner, BINARY, inner),
        st.builds(lambda first, second, third: f"({first} ? {second} : {third})", inner, inner, inner),
        st.builds(lambda value, method: f"[{value}, 1]{method}", inner, METHODS),
        st.builds(lambda value, method: f"({value}){method}", inner, METHODS),
        st.builds(lambda value: f"String({value})", inner),
        st.builds(lambda value: f"!!{value}", inner),
    ),
    max_leaves=4,
)


@QUICK
@given(PURE, VALUES)
def test_a_pure_expression_gives_the_same_in_any_world(text: str, value: Any) -> None:
    """Also in one in which others have been."""
    assume(check(text) is None)
    variables = {"v": value}
    expression, alone = compile_expression(text), in_a_new_world(text)

    assert outcome(expression, variables) == outcome(alone, variables)
