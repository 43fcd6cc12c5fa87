"""Steps of a flow's run in Windmill's words. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from shared.flow_tree import StepNode
from shared.run_page import milliseconds

_TYPES: Final = {
    "succeeded": "Success",
    "skipped": "Success",
    "failed": "Failure",
    "running": "InProgress",
    "cut off": "Failure",
    "waiting": "WaitingForPriorSteps",
}
_STATUSES: Final = {
    "succeeded": "success",
    "skipped": "skipped",
    "failed": "failure",
    "running": "running",
    "cut off": "failure",
}
ENTRIES_MAX: Final = 1000
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


def flow_results(steps: Sequence[StepNode], run_id: str, wanted: str | None, longest: int) -> dict[str, Any]:
    """The results of all steps, each cut off after so many characters, in the order in which they stand.

    With `wanted`, an id or a path such as `l/3/x`, of that step and what stands within it alone.
    """
    every = list(_entries(steps, run_id, longest, 1))
    if wanted is None:
        return {"entries": every[:ENTRIES_MAX], "truncated": len(every) > ENTRIES_MAX}
    paths = {each["step_path"] for each in every if wanted in {each["flow_step_id"], each["step_path"]}}
    if not paths:
        ids = ", ".join(sorted({each["flow_step_id"] for each in every}))
        return {"entries": [], "step_error": f"there is no step {wanted}; there are {ids or 'none yet'}"}
    found = [each for each in every if any(f"{each['step_path']}/".startswith(f"{path}/") for path in paths)]
    return {"entries": found[:ENTRIES_MAX], "truncated": len(found) > ENTRIES_MAX}


def _entries(steps: Sequence[StepNode], run_id: str, longest: int, depth: int) -> Iterator[dict[str, Any]]:
    counts = Counter(_id(node.key) for node in steps)
    seen: Counter[str] = Counter()
    for node in steps:
        step = _id(node.key)
        seen[step] += 1
        entry: dict[str, Any] = {
            "job_id": node.run or run_id,
            "label": node.key,
            "kind": "flow" if node.steps else "script",
            "depth": depth,
            "sibling_index": seen[step],
            "sibling_count": counts[step],
            "status": _status(node),
            "flow_step_id": step,
            "step_path": node.key,
        }
        if node.started_at:
            entry["started_at"] = node.started_at
        if node.ended_at:
            result = {"error": node.error} if node.state == "failed" else node.result
            text = msgspec.json.encode(result).decode()
            took = milliseconds(node.started_at, node.ended_at)
            entry |= {"success": node.state != "failed", "duration_ms": round(took or 0)}
            entry |= {"result_prefix": text[:longest], "result_length": len(text)}
        yield entry
        yield from _entries(node.steps, run_id, longest, depth + 1)


def _status(node: StepNode) -> str:
    return _STATUSES.get(node.state, "running" if node.steps else "queued")


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
