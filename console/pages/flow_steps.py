"""The steps of a run of a flow, for its page: how each has fared, and all of them in a list. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from console.pages.flow_graph import Drawing, StepState, draw
from shared.definitions import Flow
from shared.run_page import milliseconds

TONES: Final[Mapping[str, str]] = {
    "succeeded": "ok", "failed": "bad", "cut off": "bad", "running": "busy", "skipped": "idle", "waiting": "idle",
}  # fmt: skip
_WORST_FIRST: Final = ("running", "failed", "cut off", "succeeded", "skipped", "waiting")


class StepNode(Protocol):
    """A step of a run, or an iteration or branch of one, with what stands within it. `key` tells where it stands:
    `l/3/x` is step x in iteration 3 of l, `x~1` its second attempt. Times are ISO 8601 in UTC. `run` is the run that
    carries it out where that is one of its own.
    """

    key: str
    state: str
    started_at: str | None
    ended_at: str | None
    runnable: str | None
    version: str | None
    starts: int
    inputs: Any
    result: Any
    error: dict[str, Any] | None
    log: str
    run: str | None

    @property
    def steps(self) -> Sequence[StepNode]:
        """What stands within it."""
        ...


class StepRow(msgspec.Struct, frozen=True):
    """A step in the list, so far from the left."""

    node: Any
    depth: int
    name: str
    took_ms: float | None


def step_rows(steps: Sequence[StepNode], depth: int = 0) -> list[StepRow]:
    """All, each before what stands within it."""
    rows: list[StepRow] = []
    for node in steps:
        took = milliseconds(node.started_at, node.ended_at)
        word = node.key.rpartition("/")[2]
        rows.append(StepRow(node, depth, _name(word), took))
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
