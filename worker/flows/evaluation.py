"""What expressions and inputs of flows come to."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from shared.config import WorkerSettings
from shared.errors import ExpressionError
from shared.expression_engine import Limits
from shared.expressions import DEFAULT_LIMITS, Expression, Lookup, compile_expression
from shared.openflow import MAX_SECONDS, InputTransform, Static
from worker.flows.asking import misplaced
from worker.flows.effects import Answer, Choose, Done, Enter, Evaluate, Execute, Failed, Judge, Later, Place
from worker.retry import next_delay_s

_COMPILED_MAX = 4096
_MEMORY = 128 * 1024 * 1024
"""As Windmill's."""
Valued = Evaluate | Judge | Choose | Enter | Later


def expression_limits(settings: WorkerSettings) -> Limits:
    """What an expression of a flow may use."""
    return Limits(settings.expression_ms / 1000, _MEMORY)


class Evaluator:
    """Evaluates within `limits`; `lookup` tells what variables and resources of the workspace are (None: nothing), and
    `chance` gives numbers from 0 to 1. An error says step, field and expression.
    """

    def __init__(
        self, limits: Limits = DEFAULT_LIMITS, lookup: Lookup | None = None, chance: Callable[[], float] = random.random
    ) -> None:
        self._limits = limits
        self._lookup = lookup
        self._chance = chance

    def evaluate(self, effect: Valued) -> Answer:
        """The answer to what asks for a value."""
        variables = effect.variables
        try:
            match effect:
                case Evaluate(place=place, transform=transform):
                    return Done(self._value(place, transform, variables))
                case Judge(place=place, expr=expr):
                    return Done(self._is_true(place, expr, variables))
                case Choose():
                    return Done(self._first(effect))
                case Enter(step=step, inputs=transforms):
                    return Done(self._inputs(step, transforms, variables))
                case Later():
                    return Done(self._delay(effect))
        except ExpressionError as error:
            return _failed(error)

    def inputs_of(self, effect: Execute) -> Answer:
        """The inputs of a step: Done with a dict, or Failed."""
        try:
            return Done(self._inputs(effect.step, effect.inputs, effect.variables))
        except ExpressionError as error:
            return _failed(error)

    def timeout_of(self, effect: Execute, inputs: Mapping[str, Any]) -> Answer:
        """The seconds that a step may take: Done with a number, or Failed."""
        variables = {**effect.variables, "params": inputs}
        asked = Done() if effect.timeout is None else self.seconds_of(effect.step, effect.timeout, variables)
        return asked if isinstance(asked, Failed) or asked.result else Done(float(effect.runnable.timeout_s))

    def seconds_of(self, step: str, timeout: InputTransform, variables: Mapping[str, Any]) -> Answer:
        """What a time-out comes to: Done with a number, or None where it gives none, or Failed."""
        place = Place(step, "timeout")
        try:
            wanted = self._value(place, timeout, variables)
        except ExpressionError as error:
            return _failed(error)
        if wanted is None:
            return Done()
        if not isinstance(wanted, int | float) or isinstance(wanted, bool) or not 0 < wanted <= MAX_SECONDS:
            return misplaced(place, wanted, f"a number of seconds, {MAX_SECONDS} at most").failed
        return Done(float(wanted))

    def _inputs(self, step: str, transforms: Mapping[str, InputTransform], variables: Mapping[str, Any]) -> Any:
        return {
            name: self._value(Place(step, f"input {name}"), transform, variables)
            for name, transform in transforms.items()
        }

    def _value(self, place: Place, transform: InputTransform, variables: Mapping[str, Any]) -> Any:
        return transform.value if isinstance(transform, Static) else self._evaluated(place, transform.expr, variables)

    def _evaluated(self, place: Place, expr: str, variables: Mapping[str, Any]) -> Any:
        try:
            return _compiled(expr).evaluate(variables, self._limits, self._lookup)
        except ExpressionError as error:
            raise ExpressionError(f"{place}: {error.message}") from error

    def _is_true(self, place: Place, expr: str, variables: Mapping[str, Any]) -> bool:
        """As JavaScript has it: an empty list or object is true."""
        value = self._evaluated(place, expr, variables)
        return bool(value) or isinstance(value, list | Mapping)

    def _first(self, effect: Choose) -> int | None:
        for number, expr in enumerate(effect.exprs):
            place = Place(effect.place.step, f"{effect.place.field}[{number}].expr")
            if self._is_true(place, expr, effect.variables):
                return number
        return None

    def _delay(self, effect: Later) -> int | None:
        delay_s = next_delay_s(effect.made, effect.policy, self._chance)
        condition = effect.policy.retry_if
        if delay_s is None or condition is None:
            return delay_s
        return delay_s if self._is_true(Place(effect.step, "retry_if"), condition, effect.variables) else None


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


def _failed(error: ExpressionError) -> Failed:
    return Failed({"name": "ExpressionError", "message": error.message})


@lru_cache(_COMPILED_MAX)
def _compiled(expr: str) -> Expression:
    return compile_expression(expr)
