"""Property paths and template texts without an engine."""

from __future__ import annotations

from typing import Any

import pytest

from shared.errors import ExpressionError
from shared.expression_paths import ENGINE, UNDEFINED, as_javascript, parse
from shared.expression_purity import is_pure

VARIABLES = {"payload": {"a": {"b": [1, {"c": "x"}], "": 0}, "t": 21.5, "on": True, "n": None}, "topic": "plant/1"}


def value(text: str, variables: dict[str, Any] = VARIABLES) -> Any:
    """What the text is without an engine."""
    plain = parse(text)
    assert plain is not None
    return plain.evaluate(variables)


@pytest.mark.parametrize(
    "text,expected",
    [
        ("topic", "plant/1"),
        (" payload.t ", 21.5),
        ("payload.a.b[0]", 1),
        ("payload.a.b[1].c", "x"),
        ("payload['a'][\"b\"].length", 2),
        ("payload.a['']", 0),
        ("topic.length", 7),
        ("topic[0]", "p"),
        ("payload.n", None),
        ("payload.n?.x.y.z", UNDEFINED),
        ("payload?.t", 21.5),
        ("payload.a?.['b']?.[1]?.c", "x"),
        ("payload.missing", UNDEFINED),
        ("payload.a.b[7]", UNDEFINED),
        ("'a b'", "a b"),
        ("-1.5e3", -1500.0),
        ("7", 7),
        ("true", True),
        ("null", None),
        ("undefined", UNDEFINED),
        ("`${topic} ${payload.t}/${payload.on}:${payload.n}${payload.missing}$`", "plant/1 21.5/true:nullundefined$"),
        ("``", ""),
    ],
)
def test_a_path_is_followed_as_javascript_does(text: str, expected: object) -> None:
    """Own properties, indices, lengths, optional chaining, literals, template texts."""
    found = value(text)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize("text", ["payload.n.x", "payload.missing.x", "payload.a.b[7].c", "payload.missing['x y']"])
def test_a_property_of_nothing_is_an_error(text: str) -> None:
    """In the words of the engine."""
    with pytest.raises(ExpressionError, match=r"TypeError: cannot read property '.*' of (null|undefined)"):
        value(text)


@pytest.mark.parametrize(
    "text",
    [
        "payload.toString",
        "payload.constructor",
        "topic.split",
        "payload.a.b.map",
        "payload.t.x",
        "Math",
        "`${payload}`",
    ],
)
def test_what_javascript_inherits_is_for_the_engine(text: str) -> None:
    """Methods, prototypes, globals, texts of objects."""
    assert value(text) is ENGINE


@pytest.mark.parametrize(
    "text",
    [
        "", "payload.", "payload.a b", "payload[a]", "f(1)", "1 + 1", "payload?.5:1", "class.a", "this", "01", "1.",
        "'\\n'",
        "`\\``", "`a` + `b`", "`${`", "`${payload.a + 1}`", "payload.a // x", "new", "return 1", "a\u00e9", "\uff11",
    ],
)  # fmt: skip
def test_everything_else_is_for_the_engine(text: str) -> None:
    """Also what is not JavaScript at all: the engine says why."""
    assert parse(text) is None


@pytest.mark.parametrize(
    "number,expected",
    [
        (1.0, 1), (-0.0, 0), (2.5, 2.5), (2**53, 2**53), (2**53 + 1, 2**53),
        (12345678901234567890, 12345678901234567000),
        (1e20, 10**20), (1e21, 1e21), (10**21, 1e21), (float("nan"), None), (float("-inf"), None), (10**400, None),
    ],
)  # fmt: skip
def test_numbers_are_doubles(number: float, expected: object) -> None:
    """As JSON has them after JavaScript had them."""
    found = as_javascript([number])[0]
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    "text",
    [
        "payload.t > 20 && !payload.off", "a ? b : c?.d", "topic.split('/')[1] ?? 'none'", "[a, b].join('-')",
        "typeof a == 'x'",
        "`${a.b + 1}/${topic.slice(2)}`", "Math.max(a.b, 2) ** 2", "(a + b) * -c", "'x' in payload", "String(a)",
        "JSON.stringify(payload.a)",
    ],
)  # fmt: skip
def test_looking_and_calculating_is_pure(text: str) -> None:
    """Such an expression needs no world of its own."""
    assert is_pure(text)


@pytest.mark.parametrize(
    "text",
    [
        "a = 1", "a.b += 1", "a++", "--a", "a >>= 1", "a >>>= 1", "a <<= 1", "a **= 2", "a &&= b", "a ??= b",
        "delete a.b",
        "f(1)", "a.push(1)", "a['join']()", "a.b()()", "(a)(1)", "a?.(1)", "x => x", "{a: 1}", "function () {}",
        "new Date",
        "f`x`", "a.join`x`", "`${f(1)}`", "`${{}}`", "`${'`'}", "[...a]", "a / b", "/x/.y", "a // b", "/* a */ b",
        "a; b",
        "'\\''", "a.constructor.constructor('x')", "eval('x')", "this.x", "async", "import('x')", "a.join.call(b)",
        "<!-- a",
        "[a.b] = [1]", "a\\u0028b", "String.raw(a)", "Object.assign(a, b)", "Object.freeze(a)", "a.sort()",
    ],
)  # fmt: skip
def test_what_might_write_is_not_pure(text: str) -> None:
    """Nor what cannot be told from its text."""
    assert not is_pure(text)
