"""What is wrong with a step that has not come to an end of its own. Pure."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from shared.flow_records import INTERRUPTED, Limit
from worker.flows.effects import Done, Failed
from worker.runners.base import RunErrorInfo, RunnerDied

_QOS_EXACTLY_ONCE: Final = 2


def error_dict(error: RunErrorInfo | None) -> dict[str, Any]:
    """As expressions, failure modules and records have it."""
    if error is None:
        return {"name": "UnknownError", "message": "the step failed without saying why"}
    found: dict[str, Any] = {"name": error.name, "message": error.message}
    if error.stack:
        found["stack"] = error.stack
    if error.extra:
        found["extra"] = error.extra
    return found


def error_info(error: dict[str, Any]) -> RunErrorInfo:
    """The same as the error of a run."""
    extra = error.get("extra")
    step = error.get("step_id")
    return RunErrorInfo(
        str(error.get("name", "UnknownError")),
        str(error.get("message", "")),
        str(error.get("stack", "")),
        extra if isinstance(extra, dict) else None,
        step if isinstance(step, str) else None,
    )


def cut_off(qos: int, starts: int, max_crashes: int) -> Failed | None:
    """The step had begun when its worker died. At QoS 1 it begins again: None, unless that was too often."""
    if qos == _QOS_EXACTLY_ONCE:
        return _failed(INTERRUPTED, "the worker died while the step was executed: how far it got is not known")
    if starts >= max_crashes:
        return _failed("Crashed", f"the step was begun {starts} times, and its worker died each time")
    return None


def died(death: RunnerDied, qos: int, starts: int, max_crashes: int) -> Failed | None:
    """The same, and only the runner has died."""
    if qos == _QOS_EXACTLY_ONCE:
        fault = _failed(INTERRUPTED, f"the runner {death.cause} while the step was executed")
    elif starts >= max_crashes:
        fault = _failed("Crashed", f"the step was begun {starts} times; at last the runner {death.cause}")
    else:
        return None
    tail = death.stderr_tail.strip()
    return Failed(fault.error | {"stack": tail}) if tail else fault


def unsendable(problem: str) -> Failed:
    """What it publishes cannot be addressed: it publishes nothing then."""
    return _failed("MessageError", problem)


def read_result(document: bytes | None) -> Done | Failed:
    """What code has returned, or why it cannot be kept."""
    try:
        return Done(msgspec.json.decode(document) if document else None)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        return _failed("ResultError", f"the result cannot be stored: {error}")


def secret_in_parts() -> Failed:
    """What parts know is kept, and a secret is not."""
    return _failed(
        "SecretError",
        "what parallel parts know of the flow is kept, and there is a secret in it: "
        "give the steps within a static input $var:PATH, or leave out parallel",
    )


def out_of_time() -> Failed:
    """The flow has a time-out of its own."""
    return _failed("TimeoutError", "the flow has taken longer than it may", final=True)


def limit_reached(limit: Limit) -> Failed:
    """A step around it has a time-out."""
    message = f"step {limit.step} has taken longer than its time-out of {limit.seconds:g} s"
    return Failed({"name": "TimeoutError", "message": message, "step_id": limit.step}, limit=limit.key)


def too_large() -> Failed:
    """It has left so much that it has to end."""
    return _failed("FlowTooLarge", "the flow has come to more steps, or larger results, than are kept", final=True)


def too_many(parts: int, most: int) -> Failed:
    """Each part is a run of its own."""
    return _failed("FlowTooLarge", f"{parts} iterations or branches at the same time: at most {most} may be")


def _failed(name: str, message: str, *, final: bool = False) -> Failed:
    return Failed({"name": name, "message": message}, final=final)
