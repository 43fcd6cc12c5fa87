"""What came of a flow that was tried, step by step."""

from __future__ import annotations

from typing import Any

import msgspec

from shared.definitions import Flow
from shared.openflow import BranchOne, walk
from worker.runners.base import Message


class StepRun(msgspec.Struct, frozen=True):
    """What one step came to; `key` tells where: `l/3/x` is step x in iteration 3 of loop l, `a~1` a second attempt.

    `branch` is the number of the branch that a branchone takes (the default one comes last); it runs no code.
    `messages` are what would be published.
    """

    key: str
    step: str
    state: str
    runnable: str = ""
    inputs: Any = None
    result: Any = None
    error: dict[str, Any] | None = None
    log: str = ""
    branch: int | None = None
    waited_s: float | None = None
    duration_ms: float | None = None
    messages: tuple[Message, ...] = ()


class FlowOutcome(msgspec.Struct, frozen=True):
    """What came of the flow. `arguments` are those that it went on with, after its preprocessor if it has one."""

    runnable: str
    version: str
    ok: bool
    result: Any
    error: dict[str, Any] | None
    skipped: bool
    arguments: Any
    steps: list[StepRun]
    duration_ms: float


def branch_name(flow: Flow, step: str, number: int) -> str:
    """`default`, or the summary of a branch, or its number."""
    module = next((each for each in walk(flow.value) if each.id == step), None)
    if module is None or not isinstance(module.value, BranchOne):
        return str(number)
    branches = module.value.branches
    return "default" if number >= len(branches) else branches[number].summary or str(number)
