"""Expressions in JavaScript: the idempotency key of a trigger, conditions and inputs of flows, `retry_if`.

An expression sees its variables and the language, nothing else, and leaves nothing behind: it is evaluated in another
process, with limits, and in a world of its own unless its text shows that it cannot change anything. Property paths
(`payload.a.b[0]`, `results.a?.["x"]`), literals and template texts of them (`` `${topic} ${payload.id}` ``) take no
engine and mean the same.

A text that is no single expression is the body of a function, and has to `return` (Windmill, OpenFlow).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import msgspec

from shared.errors import ExpressionError
from shared.expression_engine import Engine, Limits
from shared.expression_paths import ENGINE, UNDEFINED, Literal, Path, Template, as_javascript, parse
from shared.expression_purity import is_pure

JSON = Any
"""None, bool, int, float, str, list or dict."""

DEFAULT_LIMITS = Limits()
SHOWN = 200
"""Characters of an expression that an error shows."""

_WORDS = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_HIDDEN = re.compile(r"\\u|\beval\b")
"""With these a variable may be named without being written."""
_POSITION = re.compile(r"<input>:(\d+):(\d+)")
_LARGE_S = 1.0
LOOKUPS = ("variable", "resource")
"""The functions that look up."""
MOST_LOOKUPS = 50
Lookup = Callable[[str, str], Mapping[str, JSON]]
"""What a variable or resource (kind, path) is: `value`, or `error`, what is thrown."""
_KNOWN = "$known"
# What has been asked for in vain counts also where the expression has caught what was thrown then.
_LOOKING_UP = """(async (call) => {
  const missing = [];
  const ask = (kind) => (path) => {
    path = String(path);
    if (!Object.hasOwn($known[kind], path)) { missing.push([kind, path]); throw new Error(kind + ' ' + path); }
    const found = $known[kind][path];
    if (found.error !== undefined) throw new Error(found.error);
    return found.value;
  };
  let value;
  try { value = await call(ask('variable'), ask('resource')); }
  catch (error) { if (!missing.length) throw error; }
  if (missing.length) return {missing};
  const kind = typeof value;
  if (kind === 'function' || kind === 'symbol') throw new TypeError('it gives a ' + kind);
  return {value};
})(""".replace("\n", " ")
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Expression:
    """An expression that is JavaScript; made by `compile_expression`. May be used by any thread."""

    def __init__(self, text: str, plain: Path | Literal | Template | None, wrapped: tuple[str, str]) -> None:
        self.text = text
        self._plain = plain
        self._wrapped = wrapped
        self._pure = wrapped is _EXPRESSION and is_pure(text)
        self._kind = _kind(text)
        self._words = None if _HIDDEN.search(text) else frozenset(_WORDS.findall(text))

    @property
    def looks_up(self) -> bool:
        """Whether it may ask for a variable or resource of the workspace."""
        return self._plain is None and any(map(self.mentions, LOOKUPS))

    @property
    def is_plain(self) -> bool:
        """Whether it takes no engine: it says the same of the same variables, always."""
        return self._plain is not None

    def mentions(self, name: str) -> bool:
        """Whether it may look at a variable of that name; others need not be there."""
        return self._words is None or name in self._words

    def evaluate(
        self, variables: Mapping[str, JSON], limits: Limits = DEFAULT_LIMITS, lookup: Lookup | None = None
    ) -> JSON:
        """The result as JSON has it: undefined is null at the top and left out below, NaN is null, a Date its text.

        Only variables that it mentions are read, so a mapping may work them out when asked. Their names are names of
        JavaScript. With `lookup` there are the functions `variable(path)` and `resource(path)`: it is evaluated again,
        with what they have been asked for. What a plain path leads to is given as it is: no number becomes a double.

        Raises ExpressionError: what it threw, and where; that it gave what JSON has not (a function, a BigInt); that it
        took more than `limits`. What `lookup` raises.
        """
        try:
            if self._plain is not None:
                result = self._evaluate_plain(self._plain, variables)
                if result is not ENGINE:
                    return result
            if lookup is not None and self.looks_up:
                return self._evaluate_with(lookup, variables, limits)
            return self._evaluate_in_engine(variables, limits)
        except ExpressionError as error:
            raise explain(error.message, self.text, limits) from None

    def _evaluate_plain(self, plain: Path | Literal | Template, variables: Mapping[str, JSON]) -> JSON:
        value = plain.evaluate(variables)
        if value is ENGINE or type(value) is str or isinstance(plain, Path):
            return None if value is UNDEFINED else value
        return None if value is UNDEFINED else as_javascript(value)

    def _evaluate_with(self, lookup: Lookup, variables: Mapping[str, JSON], limits: Limits) -> JSON:
        known: dict[str, dict[str, JSON]] = {name: {} for name in LOOKUPS}
        for _ in range(MOST_LOOKUPS):
            found = self._evaluate_in_engine({**variables, _KNOWN: known}, limits, _LOOKING_UP)
            if not (missing := found.get("missing")):
                return found.get("value")
            for kind, path in missing:
                known[kind][path] = lookup(kind, path)
        raise ExpressionError(f"Error: it looks up more than {MOST_LOOKUPS} variables and resources, one by one")

    def _evaluate_in_engine(self, variables: Mapping[str, JSON], limits: Limits, around: str = "") -> JSON:
        given = {name: variables[name] for name in variables if self.mentions(name) or (around and name == _KNOWN)}
        before, after = self._wrapped
        try:
            blob = _encode(given)
        except (TypeError, ValueError, RecursionError) as error:
            raise ExpressionError(f"a variable cannot be given as JSON: {error}") from error
        names = ", ".join(LOOKUPS) if around else ""
        call = f"({self._kind} ({names}) {{ {before}\n{self.text}\n{after} }})"
        source = f"(({{{', '.join(given)}}}) => {around}{call}{')' if around else '()'})"
        result = _engine().call(source, blob, limits, pure=self._pure)
        try:
            return _decode(result)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ExpressionError(f"its result is not JSON: {error}") from error


def check(text: str) -> str | None:
    """What is wrong with the syntax of an expression, and where; None: nothing."""
    try:
        compile_expression(text)
    except ExpressionError as error:
        return str(error.fields["problem"])
    return None


def compile_expression(text: str) -> Expression:
    """Read an expression. Raises ExpressionError, with the position, where it is not JavaScript."""
    code = text.rstrip("; \t\r\n")
    if not code.strip():
        raise explain("SyntaxError: there is nothing to evaluate", text)
    plain = parse(code)
    if plain is not None:
        return Expression(code, plain, _EXPRESSION)
    try:
        _compile(code, _EXPRESSION)
    except ExpressionError as error:
        if "return" not in _WORDS.findall(code):
            raise explain(error.message, text) from None
        try:
            _compile(text, _BODY)
        except ExpressionError as body_error:
            raise explain(body_error.message, text) from None
        return Expression(text, None, _BODY)
    return Expression(code, None, _EXPRESSION)


def explain(said: str, text: str, limits: Limits = DEFAULT_LIMITS) -> ExpressionError:
    """The error for what the engine has said of an expression: message first, then its stack."""
    problem = said.split("\n", 1)[0].strip() or "Error"
    if problem == "InternalError: interrupted":
        problem = f"it took more than {limits.time_s * 1000:g} ms"
    elif problem in {"InternalError: out of memory", "null"}:  # too little memory even for the error
        problem = f"it took more than {limits.memory / 1024**2:g} MiB of memory"
    elif problem == "TypeError: BigInt are forbidden in JSON.stringify":
        problem = "it gives a BigInt, which JSON has not"
    place = next(((int(line) - 1, int(column)) for line, column in _POSITION.findall(said) if int(line) > 1), None)
    fields: dict[str, Any] = {}
    if place is not None:
        line, column = place
        inside = line <= text.count("\n") + 1
        problem += f" (line {line}, column {column})" if inside else " (at its end)"
        fields = {"line": line, "column": column} if inside else {}
    shown = " ".join(text.split())
    if len(shown) > SHOWN:
        shown = shown[: SHOWN - 1] + "…"
    return ExpressionError(f"expression {shown}: {problem}", expression=text, problem=problem, **fields)


def _kind(text: str) -> str:
    return "async function" if "await" in _WORDS.findall(text) else "function"


_EXPRESSION = ("return (", ")")
_BODY = ("", "")


def _compile(code: str, wrapped: tuple[str, str]) -> None:
    before, after = wrapped
    limits = Limits(_LARGE_S, DEFAULT_LIMITS.memory)
    _engine().compile(f"({_kind(code)} () {{ {before}\n{code}\n{after} }})", limits)


@cache
def _engine() -> Engine:
    return Engine()
