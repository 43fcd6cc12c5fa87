"""The steps of a run of a flow, for its page: how each has fared, and all of them in a list. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from console.pages.flow_graph import Drawing, StepState, draw
from shared.definitions import Flow
from shared.flow_tree import StepNode
from shared.openflow import FAILURE, PREPROCESSOR
from shared.run_page import milliseconds

TONES: Final[Mapping[str, str]] = {
    "succeeded": "ok", "failed": "bad", "cut off": "bad", "running": "busy", "skipped": "idle", "waiting": "idle",
}  # fmt: skip
_WORST_FIRST: Final = ("running", "failed", "cut off", "succeeded", "skipped", "waiting")


class StepRow(msgspec.Struct, frozen=True):
    """A step in the list, so far from the left; `restart`: the key from which it can be begun anew, '' for none."""

    node: StepNode
    depth: int
    name: str
    took_ms: float | None
    restart: str


def step_rows(steps: Sequence[StepNode], depth: int = 0) -> list[StepRow]:
    """All, each before what stands within it."""
    rows: list[StepRow] = []
    for node in steps:
        took = milliseconds(node.started_at, node.ended_at)
        word = node.key.rpartition("/")[2]
        ids = {each.partition("~")[0] for each in node.key.split("/")}
        can_restart = node.state != "waiting" and not ids & {FAILURE, PREPROCESSOR}
        rows.append(StepRow(node, depth, _name(word), took, node.key if can_restart else ""))
        rows += step_rows(node.steps, depth + 1)
    return rows


def states_of(steps: Sequence[StepNode]) -> dict[str, StepState]:
    """How each step of the flow has fared, by its id: of one that ran more than once, how often and what is worst."""
    found: dict[str, Counter[str]] = {}
    for node in _all(steps):
        word = node.key.rpartition("/")[2].partition("~")[0]
        if node.state and not word.isdecimal():
            found.setdefault(word, Counter())[node.state] += 1
    return {word: _state(counts) for word, counts in found.items()}


def drawing_of(flow: Flow, steps: Sequence[StepNode]) -> Drawing:
    """The flow with how its steps have fared."""
    value: Any = msgspec.to_builtins(flow.value)
    return draw(value, states_of(steps))


def _state(counts: Counter[str]) -> StepState:
    worst = next(state for state in (*_WORST_FIRST, *counts) if counts[state])
    total = sum(counts.values())
    text = worst if total == 1 else ", ".join(f"{count} {state}" for state, count in counts.most_common())
    return StepState(TONES.get(worst, "idle"), text)


def _all(steps: Sequence[StepNode]) -> Iterator[StepNode]:
    for node in steps:
        yield node
        yield from _all(node.steps)


def _name(word: str) -> str:
    name, _, attempt = word.partition("~")
    if attempt.isdecimal():
        return f"{name}, attempt {int(attempt) + 1}"
    return f"number {name}" if name.isdecimal() else name
