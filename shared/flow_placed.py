"""The records of a run of a flow, each at its place in the tree of steps. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from shared.flow_nodes import Pause, StepNode, is_number, last_word
from shared.flow_records import (
    BEGUN,
    ENTERED,
    INTERRUPTED,
    LEFT,
    Begun,
    Ended,
    Entered,
    Left,
    part_state,
    read_begun,
    read_ended,
    read_entered,
    read_left,
)
from shared.run_record import iso_ms

_SKIP: Final = "?skip"
_WAITS: Final = {"!sleep": "sleep", "!retry": "retry"}
_ENDINGS: Final = (BEGUN, ENTERED, LEFT, _SKIP, *_WAITS)
_MARKS: Final = ("?", "!")


def placed(fields: Mapping[str, bytes], others: Iterable[str]) -> tuple[dict[str, StepNode], list[StepNode]]:
    """A node for each thing that has left a record, and for these keys: all by key, and those that stand in no other.

    Lists are in the order in which things were begun.
    """
    nodes: dict[str, StepNode] = {}
    top: list[StepNode] = []
    for key in sorted(_keys(fields), key=lambda key: (_began_ms(key, fields), key)):
        _place(key, nodes, top)
    for key in others:
        _place(key, nodes, top)
    for node in nodes.values():
        if node.steps and all(map(is_number, (each.key for each in node.steps))):
            node.steps.sort(key=lambda each: int(last_word(each.key)))
    return nodes, top


def fill(node: StepNode, fields: Mapping[str, bytes]) -> Left | None:
    """Say of a node what stands in its records; what it has come to if it runs no code of its own.

    Its state stays '' if it is not said: it has not begun, or it has not ended.
    """
    if entered := fields.get(node.key + ENTERED):
        _fill_entered(node, read_entered(entered))
    if begun := fields.get(node.key + BEGUN):
        _fill_begun(node, read_begun(begun))
    if skipped := fields.get(node.key + _SKIP):
        _fill_skipped(node, read_ended(skipped))
    left = None
    if blob := fields.get(node.key + LEFT):
        left = read_left(blob)
        _fill_left(node, left)
    if ended := fields.get(node.key):
        _fill_ended(node, read_ended(ended), part_state(ended))
    waits = [(why, read_ended(blob)) for mark, why in _WAITS.items() if (blob := fields.get(node.key + mark))]
    node.waits = [Pause(why, iso_ms(read.at), _seconds(read.result)) for why, read in waits]
    return left


def _keys(fields: Mapping[str, bytes]) -> set[str]:
    found = set()
    for name, blob in fields.items():
        ending = next((ending for ending in _ENDINGS if name.endswith(ending)), "")
        bare = name.removesuffix(ending)
        if blob and bare and not bare.endswith("/") and not any(mark in bare for mark in _MARKS):
            found.add(bare)
    return found


def _began_ms(key: str, fields: Mapping[str, bytes]) -> int:
    if blob := fields.get(key + BEGUN):
        return read_begun(blob).at
    if blob := fields.get(key + ENTERED):
        return read_entered(blob).at
    if blob := fields.get(key + LEFT):
        return read_left(blob).at
    blob = fields.get(key)
    return read_ended(blob).at if blob else 0


def _place(key: str, nodes: dict[str, StepNode], top: list[StepNode]) -> None:
    """Make the node, and those that it stands within."""
    if key in nodes:
        return
    node = nodes[key] = StepNode(key=key)
    outer = key.rpartition("/")[0]
    if not outer:
        top.append(node)
        return
    _place(outer, nodes, top)
    nodes[outer].steps.append(node)


def _fill_entered(node: StepNode, entered: Entered) -> None:
    node.started_at = iso_ms(entered.at)
    node.inputs, node.items, node.count = entered.inputs, entered.items, entered.count


def _fill_begun(node: StepNode, begun: Begun) -> None:
    node.started_at = iso_ms(begun.at)
    node.inputs, node.starts = begun.inputs, begun.starts
    node.runnable, node.version = begun.path or None, begun.version or None


def _fill_skipped(node: StepNode, skipped: Ended) -> None:
    if skipped.result is True:
        node.state, node.ended_at = "skipped", iso_ms(skipped.at)


def _fill_left(node: StepNode, left: Left) -> None:
    node.state = left.how or _state(None if left.ok else left.error)
    node.ended_at = iso_ms(left.at)
    node.result, node.error = left.result, left.error


def _fill_ended(node: StepNode, ended: Ended, word: str) -> None:
    """`word`: the state of the run that has carried it out, '' if it was none of its own."""
    node.state = word or _state(None if ended.ok else ended.error)
    node.ended_at = iso_ms(ended.at) if ended.at else node.ended_at
    node.result, node.error = ended.result, None if ended.ok else ended.error or {}
    node.log, node.labels = ended.log, ended.labels


def _seconds(value: object) -> float | None:
    return value if isinstance(value, int | float) else None


def _state(error: Mapping[str, object] | None) -> str:
    if error is None:
        return "succeeded"
    return "interrupted" if error.get("name") == INTERRUPTED else "failed"
