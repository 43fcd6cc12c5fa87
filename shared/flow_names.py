"""Which names an expression of a flow can see, by where it stands (Windmill, OpenFlow)."""

from __future__ import annotations

from typing import Final, Literal

from shared.expression_paths import words

Place = Literal[
    "input", "iterator", "branch", "skip_if", "stop_after_if", "stop_after_all_iters_if", "retry_if", "sleep",
    "timeout", "parallelism", "skip_expr",
]  # fmt: skip
"""Where an expression stands in a step; `skip_expr` is of the flow itself."""

EVERYWHERE: Final = {
    "flow_input": "the arguments of the flow; within a loop `flow_input.iter` is `{index, value}`",
    "flow_env": "the flow's constants",
    "variable": "`variable(path)`: the text of a variable of the workspace",
    "resource": "`resource(path)`: the value of a resource of the workspace",
}
IN_STEPS: Final = {
    "results": "the results of steps by id",
    "previous_result": "the result of the step before; of the first one, the arguments of the flow",
    "error": "`previous_result.error`",
}
IN_FAILURE: Final = {
    "started_at": "when the flow was started, in epoch milliseconds",
    "flow_job_id": "the id of the run",
}
"""In the inputs of the failure module."""
_BEFORE = {"result": "`previous_result`"}
_RESULT = {"result": "the result of this step"}
IN_PLACES: Final[dict[Place, dict[str, str]]] = {
    "branch": _BEFORE,
    "skip_if": _BEFORE,
    "stop_after_if": _RESULT | {"all_iters": "the results of the loop so far"},
    "stop_after_all_iters_if": _RESULT,
    "retry_if": _RESULT,
    "sleep": _RESULT,
    "timeout": {"params": "the inputs of this step"},
    "skip_expr": {"WM_SCHEDULED_FOR": "when the run was to start, in ISO 8601"},
}
LEFT_OUT: Final = {
    "flow_user_state": "give what steps share as results",
    "resume": "steps that wait for an approval are not supported",
    "resumes": "steps that wait for an approval are not supported",
    "approvers": "steps that wait for an approval are not supported",
}
"""Names of Windmill's that are not there, and what to do instead."""

GLOBALS: Final = words(
    """AggregateError Array ArrayBuffer Atomics BigInt BigInt64Array BigUint64Array Boolean DataView Date Error
    EvalError FinalizationRegistry Float16Array Float32Array Float64Array Function Infinity Int16Array
    Int32Array Int8Array InternalError Iterator JSON Map Math NaN Number Object Promise Proxy RangeError
    ReferenceError Reflect RegExp Set SharedArrayBuffer String Symbol SyntaxError TypeError URIError Uint16Array
    Uint32Array Uint8Array Uint8ClampedArray WeakMap WeakRef WeakSet atob btoa decodeURI decodeURIComponent
    encodeURI encodeURIComponent escape eval globalThis isFinite isNaN parseFloat parseInt performance
    queueMicrotask undefined unescape"""
)
"""What the language itself has."""


def visible(place: Place, *, in_failure: bool = False) -> frozenset[str]:
    """The names that an expression in this place can see."""
    names = {*EVERYWHERE, *IN_PLACES.get(place, {})}
    if place != "skip_expr":
        names |= IN_STEPS.keys()
    return frozenset(names | IN_FAILURE.keys() if in_failure else names)
