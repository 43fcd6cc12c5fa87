"""Steps of a flow's run in Windmill's words. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from shared.flow_tree import StepNode

_TYPES: Final = {
    "succeeded": "Success",
    "skipped": "Success",
    "failed": "Failure",
    "running": "InProgress",
    "cut off": "Failure",
    "waiting": "WaitingForPriorSteps",
}
_BESIDE: Final = ("failure", "preprocessor")
_NOT_BEGUN: Final = "WaitingForPriorSteps"


def flow_status(steps: Sequence[StepNode], run_id: str) -> dict[str, Any]:
    """What each step has come to. `failure_module` is always there: Windmill's client asks for it."""
    own = [_last(steps, node) for node in _first_attempts(steps) if node.key not in _BESIDE]
    modules = [_module(node, run_id) for node in own]
    done = sum(module["type"] == "Success" for module in modules)
    beside = {node.key: _module(node, run_id) for node in steps if node.key in _BESIDE}
    status: dict[str, Any] = {
        "step": done,
        "modules": modules,
        "failure_module": beside.get("failure", {"type": _NOT_BEGUN, "id": "failure"}),
    }
    if "preprocessor" in beside:
        status["preprocessor_module"] = beside["preprocessor"]
    return status


def find_step(steps: Sequence[StepNode], step: str) -> StepNode | None:
    """The newest attempt of a step of this id, wherever it stands; the first where there are several."""
    found = [node for node in _all(steps) if _id(node.key) == step]
    return _last(found, found[0]) if found else None


def _module(node: StepNode, run_id: str) -> dict[str, Any]:
    kind = _TYPES.get(node.state, "InProgress" if node.steps else _NOT_BEGUN)
    module: dict[str, Any] = {"type": kind, "id": _id(node.key)}
    if kind != _NOT_BEGUN:
        module["job"] = node.run or run_id
    if node.state == "skipped":
        module["skipped"] = True
    if node.steps:
        module["flow_jobs"] = [each.run or run_id for each in node.steps]
        module["flow_jobs_success"] = [each.state == "succeeded" for each in node.steps]
    return module


def _first_attempts(steps: Sequence[StepNode]) -> Iterator[StepNode]:
    seen: set[str] = set()
    for node in steps:
        if _id(node.key) not in seen:
            seen.add(_id(node.key))
            yield node


def _last(steps: Sequence[StepNode], first: StepNode) -> StepNode:
    """The newest attempt of the same step at the same place."""
    place = first.key.partition("~")[0]
    return [node for node in steps if node.key.partition("~")[0] == place][-1]


def _all(steps: Sequence[StepNode]) -> Iterator[StepNode]:
    for node in steps:
        yield node
        yield from _all(node.steps)


def _id(key: str) -> str:
    return key.rpartition("/")[2].partition("~")[0]
