"""The steps of a flow as text for people. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from shared.flow_nodes import Pause, StepNode, title
from shared.tables import clip, duration, printable, printable_lines

_KEY_WIDTH = 24
_STATE_WIDTH = 11
_SHOWN = 100


def step_lines(steps: Sequence[StepNode], depth: int = 0) -> list[str]:
    """One line for each step, beneath it what it was given and what it has come to, then what is within it."""
    lines: list[str] = []
    for node in steps:
        lines.append(_head(node, depth))
        rest = "  " * (depth + 3)
        lines += [f"{rest}{line}".rstrip() for line in _details(node)]
        lines += step_lines(node.steps, depth + 1)
        if node.left_out:
            lines.append(f"{rest}… and {_counts(node)} that are not listed; --json has all")
        lines += [f"{rest}{_pause(pause)}" for pause in node.waits]
    return lines


def _head(node: StepNode, depth: int) -> str:
    name = f"{'  ' * (depth + 1)}{printable(title(node))}"
    took = duration(_milliseconds(node)) if node.started_at and node.ended_at else ""
    times = f"begun {node.starts} times" if node.starts > 1 else ""
    words = [node.state.ljust(_STATE_WIDTH), took.rjust(8), node.runnable or "", node.run or "", times]
    return f"{name:<{_KEY_WIDTH}}  {'  '.join(word for word in words if word.strip())}".rstrip()


def _details(node: StepNode) -> Iterator[str]:
    if node.inputs:
        yield f"inputs  {_short(node.inputs)}"
    if node.kind == "iteration" and node.value is not None:
        yield f"item    {_short(node.value)}"
    if node.error is not None:
        yield printable(f"{node.error.get('name')}: {node.error.get('message')}")
    elif node.result is not None:
        yield f"result  {_short(node.result)}"
    yield from (f"| {line}" for line in printable_lines(node.log).splitlines())


def _counts(node: StepNode) -> str:
    return ", ".join(f"{count:,} {state}".replace(",", " ") for state, count in sorted(node.left_out.items()))


def _pause(pause: Pause) -> str:
    seconds = "" if pause.seconds is None else f" {pause.seconds:g} s"
    return f"then wait{seconds}" + (" to be tried again" if pause.why == "retry" else "")


def _milliseconds(node: StepNode) -> float | None:
    if node.started_at is None or node.ended_at is None:
        return None
    began, ended = datetime.fromisoformat(node.started_at), datetime.fromisoformat(node.ended_at)
    return max(0.0, (ended - began).total_seconds() * 1000)


def _short(value: Any) -> str:
    return clip(printable(json.dumps(value, ensure_ascii=False, default=str)), _SHOWN)
