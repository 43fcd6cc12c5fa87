"""What the steps of a flow know of each other. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from shared.definitions import Flow

ITERATION = "iter"


class Scope(msgspec.Struct):
    """What an expression may look at, in one list of steps of `flow`.

    `results` are shared by a flow and the lists within it: a step knows also what was the last result of a step inside
    of a loop or branch before it. `constants` are the same everywhere in the flow. `previous_at` is the key of the step
    whose result `previous` is, '' for the first one.
    """

    flow: Flow
    flow_input: dict[str, Any]
    results: dict[str, Any]
    constants: dict[str, Any]
    previous: Any = None
    previous_at: str = ""

    def within(self, iteration: dict[str, Any] | None = None) -> Scope:
        """The scope of a branch, or of an iteration, whose first step has the flow's arguments as previous result."""
        given = self.flow_input if iteration is None else with_iteration(self.flow_input, iteration)
        return Scope(self.flow, given, self.results, self.constants, given)

    def variables(self) -> dict[str, Any]:
        """By name."""
        return {
            "error": _error_in(self.previous),
            **self.constants,
            "flow_input": self.flow_input,
            "results": self.results,
            "previous_result": self.previous,
        }

    def before(self) -> dict[str, Any]:
        """The variables of an expression that decides what comes next: `result` is the previous one (Windmill)."""
        return {**self.variables(), "result": self.previous}

    def after(self, result: Any) -> dict[str, Any]:
        """The variables of an expression that judges the result of a step."""
        return {**self.variables(), "error": _error_in(result), "result": result, "previous_result": result}


def with_iteration(flow_input: dict[str, Any], iteration: dict[str, Any]) -> dict[str, Any]:
    """The arguments of an iteration. That of the loop around it is called `iter_parent` then, and so on (Windmill)."""
    given = dict(flow_input)
    name, value = ITERATION, iteration
    while name in given:
        given[name], value = value, given[name]
        name += "_parent"
    given[name] = value
    return given


def _error_in(result: Any) -> Any:
    return result.get("error") if isinstance(result, dict) else None
