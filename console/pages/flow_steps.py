"""The steps of a run of a flow, for its page: how each has fared, and all of them in a list. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from console.pages.flow_graph import Drawing, StepState, draw
from shared.definitions import Flow
from shared.flow_nodes import NOT_REACHED, WAITING, StepNode, id_of, is_number, title
from shared.openflow import FAILURE, PREPROCESSOR
from shared.run_page import milliseconds

TONES: Final[Mapping[str, str]] = {
    "succeeded": "ok", "failed": "bad", "cut off": "bad", "interrupted": "bad", "lost": "bad", "running": "busy",
    "mocked": "warn", "cancelled": "idle", "skipped": "idle", WAITING: "idle", NOT_REACHED: "",
}  # fmt: skip
_WORST_FIRST: Final = (
    "running",
    "failed",
    "interrupted",
    "lost",
    "cut off",
    "cancelled",
    "succeeded",
    "mocked",
    "skipped",
)


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
        ids = {id_of(each) for each in node.key.split("/")}
        can_restart = node.has_begun and not ids & {FAILURE, PREPROCESSOR}
        rows.append(StepRow(node, depth, title(node), took, node.key if can_restart else ""))
        rows += step_rows(node.steps, depth + 1)
    return rows


def states_of(steps: Sequence[StepNode]) -> dict[str, StepState]:
    """How each step of the flow has fared, by its id: of one that ran more than once, how often and what is worst."""
    found: dict[str, list[StepNode]] = {}
    for node in _own(steps):
        if not is_number(node.key):
            found.setdefault(id_of(node.key), []).append(node)
    return {word: _state(nodes) for word, nodes in found.items()}


def drawing_of(flow: Flow, steps: Sequence[StepNode]) -> Drawing:
    """The flow with how its steps have fared."""
    value: Any = msgspec.to_builtins(flow.value)
    return draw(value, states_of(steps))


def _own(steps: Sequence[StepNode]) -> Iterator[StepNode]:
    """Without those of flows within the flow, whose ids are theirs alone."""
    for node in steps:
        yield node
        if node.kind != "flow":
            yield from _own(node.steps)


def _state(nodes: Sequence[StepNode]) -> StepState:
    counts = Counter(node.state for node in nodes)
    worst = next(state for state in (*_WORST_FIRST, *counts) if counts[state])
    text = worst if len(nodes) == 1 else ", ".join(f"{count} {state}" for state, count in counts.most_common())
    first = next(node for node in nodes if node.state == worst)
    return StepState(TONES.get(worst, "idle"), text, first.key)
