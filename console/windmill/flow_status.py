"""Steps of a flow's run in Windmill's words. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from shared.flow_nodes import ENDED_BADLY, LOOPS, NOT_BEGUN, StepNode, all_nodes, attempt_of, id_of, last_word
from shared.openflow import FAILURE, PREPROCESSOR
from shared.run_page import milliseconds

_NOT_BEGUN: Final = "WaitingForPriorSteps"
_GOOD: Final = frozenset({"succeeded", "skipped", "mocked"})
_BESIDE: Final = (FAILURE, PREPROCESSOR)
ENTRIES_MAX: Final = 1000


def flow_status(steps: Sequence[StepNode], run_id: str) -> dict[str, Any]:
    """What each step has come to. `failure_module` is always there: Windmill's client asks for it."""
    newest = {id_of(node.key): node for node in steps}
    attempts = Counter(id_of(node.key) for node in steps)
    modules = [_module(node, run_id, attempts[step] - 1) for step, node in newest.items() if step not in _BESIDE]
    status: dict[str, Any] = {
        "step": _position(modules),
        "modules": modules,
        "failure_module": {"type": _NOT_BEGUN, "id": FAILURE},
    }
    for step in _BESIDE:
        if step in newest:
            status[f"{step}_module"] = _module(newest[step], run_id, attempts[step] - 1)
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


def find_step(steps: Sequence[StepNode], step: str) -> StepNode | None:
    """The newest attempt of a step of this id, wherever it stands; the first where there are several."""
    found = [node for node in all_nodes(steps) if id_of(node.key) == step]
    return _newest(found, found[0]) if found else None


def has_ended(node: StepNode) -> bool:
    """Whether the step has come to something."""
    return node.state in _GOOD or node.state in ENDED_BADLY


def _position(modules: Sequence[dict[str, Any]]) -> int:
    """The number of the step that the flow stands at."""
    return next((number for number, each in enumerate(modules) if each["type"] != "Success"), len(modules))


def _entries(steps: Sequence[StepNode], run_id: str, longest: int, depth: int) -> Iterator[dict[str, Any]]:
    counts = Counter(id_of(node.key) for node in steps)
    seen: Counter[str] = Counter()
    for node in steps:
        step = id_of(node.key)
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
        if has_ended(node):
            text = msgspec.json.encode(node.outcome).decode()
            took = milliseconds(node.started_at, node.ended_at)
            entry |= {"success": node.state in _GOOD, "duration_ms": round(took or 0)}
            entry |= {"result_prefix": text[:longest], "result_length": len(text)}
        yield entry
        yield from _entries(node.steps, run_id, longest, depth + 1)


def _status(node: StepNode) -> str:
    if node.state in ENDED_BADLY:
        return "canceled" if node.state == "cancelled" else "failure"
    if node.state in NOT_BEGUN:
        return "queued"
    return {"skipped": "skipped", "running": "running"}.get(node.state, "success")


def _module(node: StepNode, run_id: str, retries: int) -> dict[str, Any]:
    module: dict[str, Any] = {"type": _type(node), "id": id_of(node.key)}
    if node.has_begun:
        module["job"] = node.run or run_id
    if node.state == "skipped":
        module["skipped"] = True
    if retries:
        module["failed_retries"] = [run_id] * retries
    parts = [each for each in node.steps if last_word(each.key).isdecimal()]
    begun = [each for each in parts if each.has_begun or each.run]
    if node.kind == "branchone":
        if begun:
            number = int(last_word(begun[-1].key))
            is_default = begun[-1].kind == "default"
            module["branch_chosen"] = {"type": "default"} if is_default else {"type": "branch", "branch": number}
    elif parts:
        module["flow_jobs"] = [each.run or run_id for each in begun]
        module["flow_jobs_success"] = _successes(begun)
        if node.kind in LOOPS:
            module["iterator"] = {"index": len(begun) - 1, "itered": node.items or []}
        if any(each.run for each in parts):
            module["parallel"] = True
    return module


def _successes(parts: Sequence[StepNode]) -> list[bool | None]:
    """Of each part that has ended, None for one that has not while one after it has."""
    found = [each.state in _GOOD if has_ended(each) else None for each in parts]
    while found and found[-1] is None:
        found.pop()
    return found


def _type(node: StepNode) -> str:
    if node.state in _GOOD:
        return "Success"
    if node.state in ENDED_BADLY:
        return "Failure"
    return "InProgress" if node.state == "running" else _NOT_BEGUN


def _newest(nodes: Sequence[StepNode], first: StepNode) -> StepNode:
    """The newest attempt of the same step at the same place."""
    place = first.key.partition("~")[0]
    return max((each for each in nodes if each.key.partition("~")[0] == place), key=lambda each: attempt_of(each.key))
