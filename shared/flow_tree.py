"""The steps of a run of a flow as a tree, made of what the run has recorded. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from shared.flow_records import BEGUN, Begun, Ended, read_begun, read_ended
from shared.openflow import FlowModule
from shared.run_record import iso_ms

_MARKS = ("?", "!")


class StepNode(msgspec.Struct, kw_only=True):
    """A step, or an iteration or branch of one, with what stands within it.

    `key` tells where it stands: `l/3/x` is step x in iteration 3 of l, `x~1` its second attempt. `state` is one of
    succeeded, failed, running, skipped, waiting (for its time, or to be begun), '' where it follows from what is
    within. Times are ISO 8601 in UTC. `run` is the run that carries it out where that is one of its own.
    """

    key: str
    state: str = ""
    started_at: str | None = None
    ended_at: str | None = None
    runnable: str | None = None
    version: str | None = None
    starts: int = 0
    inputs: Any = None
    result: Any = None
    error: dict[str, Any] | None = None
    log: str = ""
    labels: list[str] = []
    run: str | None = None
    steps: list[StepNode] = []


def make_tree(
    fields: Mapping[str, bytes], modules: Sequence[FlowModule], runs: Mapping[str, str], *, is_live: bool
) -> list[StepNode]:
    """From the records of a run and of its parts. `modules` are the flow's steps, which are shown also if they have not
    begun; `runs` names the runs of parts, by key. `is_live`: the run has not ended.
    """
    nodes: dict[str, StepNode] = {}
    top: list[StepNode] = []
    for name in sorted(_keys(fields), key=lambda key: _order(key, fields)):
        _place(name, nodes, top)
        _fill(nodes[name], fields, is_live=is_live)
    for name, run in runs.items():
        _place(name, nodes, top)
        nodes[name].run = run
        if not nodes[name].state:
            nodes[name].state = "waiting" if is_live and not nodes[name].steps else ""
    begun = {_id(node.key) for node in top}
    top += [StepNode(key=module.id, state="waiting") for module in modules if is_live and module.id not in begun]
    order = {module.id: number for number, module in enumerate(modules)}
    return sorted(top, key=lambda node: order.get(_id(node.key), -1 if node.key == "preprocessor" else len(order)))


def all_logs(steps: Iterable[StepNode]) -> list[tuple[str, str]]:
    """(key, log) of every step that has printed something."""
    found: list[tuple[str, str]] = []
    for node in steps:
        if node.log:
            found.append((node.key, node.log))
        found += all_logs(node.steps)
    return found


def _keys(fields: Mapping[str, bytes]) -> set[str]:
    found = set()
    for name, blob in fields.items():
        bare = name.removesuffix(BEGUN)
        for mark in ("?skip", "!sleep", "!retry"):
            bare = bare.removesuffix(mark)
        if bare and blob and not any(mark in bare for mark in _MARKS):
            found.add(bare)
    return found


def _order(key: str, fields: Mapping[str, bytes]) -> tuple[Any, ...]:
    """Iterations by number, attempts after each other, and else by time."""
    begun = fields.get(key + BEGUN)
    at = read_begun(begun).at if begun else _ended_at(fields.get(key))
    numbers = [int(word) if word.isdecimal() else 0 for word in key.split("/")]
    return (at, numbers, key)


def _ended_at(blob: bytes | None) -> int:
    return read_ended(blob).at if blob else 0


def _id(key: str) -> str:
    return key.rpartition("/")[2].partition("~")[0]


def _place(key: str, nodes: dict[str, StepNode], top: list[StepNode]) -> None:
    """Make the node, and those that it stands within."""
    if key in nodes:
        return
    nodes[key] = StepNode(key=key)
    outer = key.rpartition("/")[0]
    if not outer:
        top.append(nodes[key])
        return
    _place(outer, nodes, top)
    within = nodes[outer].steps
    within.append(nodes[key])
    if key.rpartition("/")[2].isdecimal():
        within.sort(key=lambda node: int(node.key.rpartition("/")[2]) if _is_number(node) else 0)


def _is_number(node: StepNode) -> bool:
    return node.key.rpartition("/")[2].isdecimal()


def _fill(node: StepNode, fields: Mapping[str, bytes], *, is_live: bool) -> None:
    begun, ended = fields.get(node.key + BEGUN), fields.get(node.key)
    if begun:
        _fill_begun(node, read_begun(begun))
        node.state = "running" if is_live else "cut off"
    if ended:
        _fill_ended(node, read_ended(ended))
    elif not begun:
        skipped = fields.get(f"{node.key}?skip")
        if skipped and read_ended(skipped).result is True:
            node.state = "skipped"


def _fill_begun(node: StepNode, begun: Begun) -> None:
    node.started_at = iso_ms(begun.at)
    node.inputs = begun.inputs
    node.starts = begun.starts
    node.runnable = begun.path or None
    node.version = begun.version or None


def _fill_ended(node: StepNode, ended: Ended) -> None:
    node.state = "succeeded" if ended.ok else "failed"
    node.ended_at = iso_ms(ended.at) if ended.at else None
    node.result = ended.result
    node.error = ended.error
    node.log = ended.log
    node.labels = ended.labels
