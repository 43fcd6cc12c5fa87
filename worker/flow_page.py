"""What the steps of a flow came to, as people read it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from shared.definitions import Flow
from shared.tables import clip, duration, printable, printable_lines
from worker.flow_report import FlowOutcome, StepRun, branch_name
from worker.runners.base import Message

_SIGNS = {"succeeded": "✓", "failed": "✗", "mocked": "○", "branch": "→", "waited": "…", "not waited": "…"}
_MOST = 200
_INDENT = "  "


def step_lines(flow: Flow, step: StepRun, width: int | None) -> list[str]:
    """A line for a step, indented by how deep it lies, then its log."""
    indent = _INDENT * _depth(step.key)
    head = f"{indent}{_SIGNS[step.state]} {step.key}"
    lines = [clip(printable(f"{head}  {_came_to(flow, step)}"), width or _MOST)]
    lines += [f"{indent}{_INDENT}| {line}" for line in printable_lines(step.log).splitlines()]
    lines += [f"{indent}{_INDENT}{printable(publication(message))}" for message in step.messages]
    return lines


def publication(message: Message) -> str:
    """What would be published."""
    where = f" ({message.broker})" if message.broker else ""
    return f"would publish {message.topic}{where} at QoS {message.qos}: {_excerpt(message.payload)}"


def _excerpt(payload: bytes) -> str:
    text = payload[:_MOST].decode("utf-8", "replace")
    return text if len(payload) <= _MOST else f"{text}… ({len(payload)} bytes)"


def end_lines(outcome: FlowOutcome) -> Iterator[str]:
    """How the flow ended, and its error."""
    if outcome.error is not None:
        stack = outcome.error.get("stack")
        text = f"{outcome.error.get('name')}: {outcome.error.get('message')}"
        yield printable_lines(text + (f"\n{stack}" if stack else ""))
    said = "succeeded" if outcome.ok else "failed"
    skipped = ", stopped early" if outcome.skipped else ""
    yield f"{outcome.runnable} {said}{skipped} in {duration(outcome.duration_ms)}"


def _came_to(flow: Flow, step: StepRun) -> str:
    if step.branch is not None:
        return f"branch {branch_name(flow, step.step, step.branch)}"
    if step.waited_s is not None:
        return f"{step.state} {step.waited_s:g} s"
    took = "" if step.duration_ms is None else f"{duration(step.duration_ms)}  "
    if step.error is not None:
        return f"{took}{step.error.get('name')}: {step.error.get('message')}"
    return took + msgspec.json.encode(step.result).decode()


def _depth(key: str) -> int:
    """How many steps lie around it: the numbers of iterations and branches are words of the key too."""
    return sum(not word.isdecimal() for word in key.split("/")) - 1
