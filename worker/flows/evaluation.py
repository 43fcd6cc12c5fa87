"""What expressions and inputs of flows come to."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from shared.errors import ExpressionError
from shared.expressions import Expression, compile_expression
from shared.openflow import InputTransform, Static
from worker.flows.asking import misplaced
from worker.flows.effects import Answer, Choose, Done, Enter, Evaluate, Execute, Failed, Judge, Later, Place
from worker.retry import next_delay_s

_COMPILED_MAX = 4096
Valued = Evaluate | Judge | Choose | Enter | Later


def evaluate(effect: Valued, chance: Callable[[], float] = random.random) -> Answer:
    """The answer to what asks for a value. An error says step, field and expression."""
    variables = effect.variables
    try:
        match effect:
            case Evaluate(place=place, transform=transform):
                return Done(_value(place, transform, variables))
            case Judge(place=place, expr=expr):
                return Done(_is_true(_evaluated(place, expr, variables)))
            case Choose(place=place, exprs=exprs):
                true = (i for i, expr in enumerate(exprs) if _is_true(_evaluated(_branch(place, i), expr, variables)))
                return Done(next(true, None))
            case Enter(step=step, inputs=transforms):
                return Done(_inputs(step, transforms, variables))
            case Later():
                return Done(_delay(effect, chance))
    except ExpressionError as error:
        return _failed(error)


def inputs_of(effect: Execute) -> Answer:
    """The inputs of a step: Done with a dict, or Failed."""
    try:
        return Done(_inputs(effect.step, effect.inputs, effect.variables))
    except ExpressionError as error:
        return _failed(error)


def timeout_of(effect: Execute, inputs: Mapping[str, Any]) -> Answer:
    """The seconds that a step may take: Done with a number, or Failed."""
    if effect.timeout is None:
        return Done(float(effect.runnable.timeout_s))
    return seconds_of(effect.step, effect.timeout, {**effect.variables, "params": inputs})


def seconds_of(step: str, timeout: InputTransform, variables: Mapping[str, Any]) -> Answer:
    """What a time-out comes to: Done with a number, or Failed."""
    place = Place(step, "timeout")
    try:
        wanted = _value(place, timeout, variables)
    except ExpressionError as error:
        return _failed(error)
    if not isinstance(wanted, int | float) or isinstance(wanted, bool) or wanted <= 0:
        return misplaced(place, wanted, "a number of seconds").failed
    return Done(float(wanted))


def is_steady(effect: Valued) -> bool:
    """Whether it comes to the same whenever it is evaluated: no need to note the answer."""
    match effect:
        case Evaluate(transform=transform):
            return _is_steady(transform)
        case Enter(inputs=transforms):
            return all(map(_is_steady, transforms.values()))
        case Judge(place=place, expr=expr):  # what is skipped is shown
            return place.field != "skip_if" and _compiled(expr).is_plain
        case Choose() | Later():  # a branch is shown, chance is in a delay
            return False


def _is_steady(transform: InputTransform) -> bool:
    return isinstance(transform, Static) or _compiled(transform.expr).is_plain


def _branch(place: Place, number: int) -> Place:
    return Place(place.step, f"{place.field}[{number}].expr")


def _inputs(step: str, transforms: Mapping[str, InputTransform], variables: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _value(Place(step, f"input {name}"), transform, variables) for name, transform in transforms.items()}


def _value(place: Place, transform: InputTransform, variables: Mapping[str, Any]) -> Any:
    return transform.value if isinstance(transform, Static) else _evaluated(place, transform.expr, variables)


def _evaluated(place: Place, expr: str, variables: Mapping[str, Any]) -> Any:
    try:
        return _compiled(expr).evaluate(variables)
    except ExpressionError as error:
        raise ExpressionError(f"{place}: {error.message}") from error


def _delay(effect: Later, chance: Callable[[], float]) -> int | None:
    delay_s = next_delay_s(effect.made, effect.policy, chance)
    condition = effect.policy.retry_if
    if delay_s is None or condition is None:
        return delay_s
    return delay_s if _is_true(_evaluated(Place(effect.step, "retry_if"), condition, effect.variables)) else None


def _failed(error: ExpressionError) -> Failed:
    return Failed({"name": "ExpressionError", "message": error.message})


def _is_true(value: Any) -> bool:
    """As JavaScript has it: an empty list or object is true."""
    return bool(value) or isinstance(value, list | Mapping)


@lru_cache(_COMPILED_MAX)
def _compiled(expr: str) -> Expression:
    return compile_expression(expr)
