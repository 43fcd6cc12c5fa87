"""The steps of a flow as text for people. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from shared.flow_tree import StepNode
from shared.tables import clip, duration, printable, printable_lines

_KEY_WIDTH = 24
_STATE_WIDTH = 11
_SHOWN = 100


def step_lines(steps: Sequence[StepNode], depth: int = 0) -> list[str]:
    """One line for each step, and beneath it what it was given, what it has come to, and what is within it."""
    lines: list[str] = []
    for node in steps:
        lines.append(_head(node, depth))
        rest = "  " * (depth + 3)
        if node.inputs:
            lines.append(f"{rest}inputs  {_short(node.inputs)}")
        if node.error is not None:
            said = printable(f"{node.error.get('name')}: {node.error.get('message')}")
            lines.append(f"{rest}{said}")
        elif node.result is not None and not node.steps:
            lines.append(f"{rest}result  {_short(node.result)}")
        lines += [f"{rest}| {line}".rstrip() for line in printable_lines(node.log).splitlines()]
        lines += step_lines(node.steps, depth + 1)
    return lines


def _head(node: StepNode, depth: int) -> str:
    name = f"{'  ' * (depth + 1)}{_name(node)}"
    took = duration(_milliseconds(node)) if node.started_at and node.ended_at else ""
    times = f"begun {node.starts} times" if node.starts > 1 else ""
    words = [node.state.ljust(_STATE_WIDTH), took.rjust(8), node.runnable or "", node.run or "", times]
    return f"{name:<{_KEY_WIDTH}}{'  '.join(word for word in words if word.strip())}".rstrip()


def _name(node: StepNode) -> str:
    word, _, attempt = node.key.rpartition("/")[2].partition("~")
    return f"{word}, attempt {int(attempt) + 1}" if attempt.isdecimal() else word


def _milliseconds(node: StepNode) -> float | None:
    if node.started_at is None or node.ended_at is None:
        return None
    began, ended = datetime.fromisoformat(node.started_at), datetime.fromisoformat(node.ended_at)
    return max(0.0, (ended - began).total_seconds() * 1000)


def _short(value: Any) -> str:
    return clip(printable(json.dumps(value, ensure_ascii=False, default=str)), _SHOWN)
