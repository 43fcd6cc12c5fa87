"""How the interpreter of flows asks for values, and what it throws when there is none. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from shared.flow_records import LIMIT, Limit
from shared.openflow import FlowModule
from worker.flows.effects import (
    Again,
    Allow,
    Asking,
    Choose,
    Done,
    Enter,
    Evaluate,
    Failed,
    FanOut,
    Judge,
    Left,
    Place,
    T,
    Turn,
    Wait,
)

EARLY_STOP = "EarlyStopError"
_SHOWN = 60


class Failure(Exception):
    """A step has failed. `at`: the key of what may be asked for again. `handled`: a failure module has run. `stops`: it
    is the end that a step has asked for, up to the loop or the flow around it, and nothing handles it before that.
    """

    def __init__(self, failed: Failed, at: str = "", *, handled: bool = False, stops: bool = False) -> None:
        super().__init__()
        self.failed = failed
        self.at = at
        self.handled = handled
        self.stops = stops

    @property
    def is_certain(self) -> bool:
        """Neither a retry nor `continue_on_error` helps."""
        return self.stops or self.is_out_of_time

    @property
    def is_out_of_time(self) -> bool:
        """The time of the flow is over, or that of a step around it which this has not reached yet."""
        return self.failed.final or bool(self.failed.limit)

    @property
    def result(self) -> Any:
        """What stands in the place of a result."""
        return failure_result(self.failed)

    @property
    def message(self) -> str:
        """What is wrong."""
        return str(self.failed.error.get("message", ""))

    def because(self, addition: str) -> Failed:
        """The same, with something more to say about it."""
        error = {**self.failed.error, "message": f"{self.message} ({addition})"}
        return msgspec.structs.replace(self.failed, error=error)


class Stop(Exception):
    """The list of steps ends here, well: up to the loop or the flow around it. `at`: the key of the step that says so,
    whose result it is.
    """

    def __init__(self, result: Any, at: str, *, skipped: bool) -> None:
        super().__init__()
        self.result = result
        self.at = at
        self.skipped = skipped


class Asker:
    """Asks. `overruled` is how often somebody has asked to have done again what had failed for good; `limit` is the
    first to end of those around what is asked for.
    """

    def __init__(self, limit: Limit | None = None) -> None:
        self.overruled = 0
        self.limit = limit

    def ask(self, effect: Evaluate | Judge | Choose | Enter | FanOut | Allow | Turn | Wait, step: str) -> Asking[Any]:
        """The value that is asked for, for this step. Throws Failure."""
        key, number = effect.key, 0
        while True:
            answer = yield effect
            if isinstance(answer, Done):
                return answer.result
            if not (yield from self.again(effect.key)):
                raise Failure(of_step(answer, step), effect.key)
            number += 1
            effect = msgspec.structs.replace(effect, key=f"{key}~{number}")

    def judge(self, key: str, place: Place, expr: str, variables: Mapping[str, Any]) -> Asking[bool]:
        """Whether an expression is true. Throws Failure."""
        return bool((yield from self.ask(Judge(key, place, expr, variables), place.step)))

    def wait(self, key: str, seconds: float, step: str) -> Asking[None]:
        """Let time pass. Throws Failure where a step around it has not so much left."""
        yield from self.ask(Wait(key, seconds, self.limit), step)

    def within(self, key: str, module: FlowModule, variables: Mapping[str, Any], steps: Asking[T]) -> Asking[T]:
        """What these steps come to in the time that the module has. Throws Failure."""
        outer = self.limit
        if module.timeout is not None:
            allowed = yield from self.ask(Allow(f"{key}{LIMIT}", module.id, module.timeout, variables), module.id)
            if allowed is not None:
                own = Limit(key, module.id, *allowed)
                self.limit = own if outer is None or own.until_ms < outer.until_ms else outer
        try:
            return (yield from steps)
        except Failure as failure:
            if failure.failed.limit != key:
                raise
            raise Failure(msgspec.structs.replace(failure.failed, limit=""), failure.at) from None
        finally:
            self.limit = outer

    def leaving(self, key: str, steps: Asking[T]) -> Asking[T]:
        """What these steps come to. It is told if it is another end than a result, which whoever knows it tells."""
        try:
            return (yield from steps)
        except Stop as stop:
            yield Left(key, Done(stop.result), of=stop.at)
            raise
        except Failure as failure:
            yield Left(key, failure.failed)
            raise

    def again(self, key: str) -> Asking[bool]:
        """Whether that which has failed under this key is to be done again."""
        answer = yield Again(key)
        if isinstance(answer, Done) and answer.result is True:
            self.overruled += 1
            return True
        return False


def failure_result(failed: Failed) -> dict[str, Any]:
    """What stands in the place of the result of something that has failed."""
    return {"error": failed.error}


def of_step(failed: Failed, step: str) -> Failed:
    """The same, saying which step it was."""
    if not step or "step_id" in failed.error:
        return failed
    return msgspec.structs.replace(failed, error={**failed.error, "step_id": step})


def misplaced(place: Place, value: Any, wanted: str) -> Failure:
    """An expression gives what makes no sense there."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    shown = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
    message = f"{place}: it gives {shown}, not {wanted}"
    return Failure(Failed({"name": "ExpressionError", "message": message, "step_id": place.step}))
