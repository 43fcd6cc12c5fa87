"""The steps of a run of a flow as a tree, made of the flow and of what the run has recorded. Pure.

A step that consists of steps has records of its own (`flow_records.Entered`, `Left`). In runs of older releases they
are missing: what such a step has come to is told then by what stands within and after it, and its result is not known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from shared.definitions import Flow
from shared.flow_nodes import ENDED_BADLY, NOT_REACHED, WAITING, StepNode, attempt_of, id_of, is_number, last_word
from shared.flow_placed import fill, placed
from shared.flow_records import Left, read_ended
from shared.openflow import FAILURE, PREPROCESSOR, BranchAll, BranchOne, FlowModule, FlowStep, ForLoop, WhileLoop
from shared.runs import LIVE

_CUT: Final = frozenset({"cancelled", "interrupted", "lost"})
_NEWER_FAN: Final = re.compile(r"(.*)#(\d+)(/\d+)")
_LAST: Final = 10**9


class Recorded(msgspec.Struct, frozen=True):
    """What a run of this state has recorded, and its parts; `runs` names the runs of parts, by key."""

    fields: Mapping[str, bytes]
    runs: Mapping[str, str]
    state: str


class Definitions(msgspec.Struct, frozen=True):
    """The flow that was run, and those within it by version, as far as they are still there."""

    flow: Flow | None = None
    flows: Mapping[str, Flow] = {}


def make_tree(recorded: Recorded, definitions: Definitions) -> list[StepNode]:
    """Every step of the flow, whether it was begun or not."""
    fields = _newest_parts(recorded.fields)
    nodes, top = placed(fields, recorded.runs)
    for key, run in recorded.runs.items():
        nodes[key].run = run
    ends = {key: end for key, node in nodes.items() if (end := fill(node, fields)) is not None}
    _Maker(fields, nodes, ends, definitions.flows).top(top, definitions.flow, recorded.state)
    return top


def _newest_parts(fields: Mapping[str, bytes]) -> dict[str, bytes]:
    """A parallel part that was carried out once more stands where it stood before."""
    found = dict(fields)
    newest: dict[str, int] = {}
    for name, blob in fields.items():
        if (match := _NEWER_FAN.fullmatch(name)) and id_of(match[1]) != FAILURE:
            del found[name]
            key = match[1] + match[3]
            if int(match[2]) > newest.get(key, 0):
                newest[key], found[key] = int(match[2]), blob
    return found


class _Place(msgspec.Struct, frozen=True):
    """A list of steps: its flow, its modules in their order, and the state of the run that carries it out."""

    flow: Flow | None
    modules: Sequence[FlowModule]
    state: str
    beside: Sequence[FlowModule] = ()


class _Maker:
    """Adds what was not begun, and works out states, times and results that stand nowhere: of a step after those within
    it and before it, so that a result that is another's is known by then.
    """

    def __init__(
        self,
        fields: Mapping[str, bytes],
        nodes: dict[str, StepNode],
        ends: Mapping[str, Left],
        flows: Mapping[str, Flow],
    ) -> None:
        self._fields = fields
        self._nodes = nodes
        self._ends = ends
        self._flows = flows

    def top(self, steps: list[StepNode], flow: Flow | None, state: str) -> None:
        """The steps that stand in no other."""
        self._list(steps, "", _of_flow(flow, state))

    def _list(self, steps: list[StepNode], prefix: str, place: _Place) -> None:
        begun = {id_of(node.key) for node in steps}
        steps += [self._new(prefix + module.id) for module in place.modules if module.id not in begun]
        order = {module.id: number for number, module in enumerate(place.modules)}
        if order:
            steps.sort(key=lambda node: (_rank(node.key, order), attempt_of(node.key)))
        known = {module.id: module for module in (*place.modules, *place.beside)}
        last = max((number for number, node in enumerate(steps) if _has_record(node)), default=-1)
        for number, node in enumerate(steps):
            module = known.get(id_of(node.key))
            if module is not None:
                node.kind, node.summary = str(type(module.value).__struct_config__.tag), module.summary
            self._within(node, module, place)
            self._end(node, place.state, is_followed=number < last and node.key != PREPROCESSOR)

    def _within(self, node: StepNode, module: FlowModule | None, place: _Place) -> None:
        """What a step consists of, once it was begun."""
        value = module.value if module is not None and _has_record(node) else None
        match value:
            case FlowStep():
                self._sub_flow(node, id_of(node.key), value, place)
            case BranchOne():
                self._branches(node, value, place)
            case BranchAll():
                branches = [self._numbered(node, number) for number in range(len(value.branches))]
                self._parts(branches, [("branch", each.summary, each.modules) for each in value.branches], place)
            case ForLoop() | WhileLoop():
                self._iterations(node, value, place)
            case _:
                self._parts(node.steps, [("", "", [])] * len(node.steps), place)

    def _sub_flow(self, node: StepNode, step_id: str, step: FlowStep, place: _Place) -> None:
        runnable = place.flow.runnables.get(step_id) if place.flow else None
        node.runnable, node.version = step.path, runnable.version if runnable else None
        flow = self._flows.get(runnable.version) if runnable else None
        self._list(node.steps, f"{node.key}/", _of_flow(flow, place.state))

    def _iterations(self, node: StepNode, loop: ForLoop | WhileLoop, place: _Place) -> None:
        if (blob := self._fields.get(f"{node.key}?items")) and node.items is None:
            found = read_ended(blob).result
            node.items = found if isinstance(found, list) else None
        items = node.items or []
        for part in node.steps:
            number = _number(part)
            part.value = items[number] if number < len(items) else None
        self._parts(node.steps, [("iteration", "", loop.modules)] * len(node.steps), place)

    def _branches(self, node: StepNode, step: BranchOne, place: _Place) -> None:
        """The branch that was taken is there also if nothing was begun in it."""
        blob = self._fields.get(f"{node.key}?branch")
        if blob and (answer := read_ended(blob)).ok:
            self._numbered(node, answer.result if isinstance(answer.result, int) else len(step.branches))
        known: list[tuple[str, str, Sequence[FlowModule]]] = []
        for part in node.steps:
            taken = step.branches[_number(part)] if _number(part) < len(step.branches) else None
            known.append(("branch", taken.summary, taken.modules) if taken else ("default", "", step.default))
        self._parts(node.steps, known, place)

    def _parts(
        self, parts: Sequence[StepNode], known: Sequence[tuple[str, str, Sequence[FlowModule]]], place: _Place
    ) -> None:
        """Iterations or branches: kind, summary, modules. One that is a run of its own may end before the flow."""
        last = max((number for number, part in enumerate(parts) if _has_record(part)), default=-1)
        for number, (part, (kind, summary, modules)) in enumerate(zip(parts, known, strict=True)):
            part.kind, part.summary = kind, summary
            state = part.state if part.run and part.state else place.state
            if _has_record(part):
                self._list(part.steps, f"{part.key}/", _Place(place.flow, modules, state))
            self._end(part, state, is_followed=number < last and not part.run)

    def _end(self, node: StepNode, state: str, *, is_followed: bool) -> None:
        """State, times and result."""
        if not node.state:
            node.state = _state_of(node, state, is_followed=is_followed)
            if node.state not in LIVE and node.has_begun:
                node.ended_at = max((each.ended_at for each in node.steps if each.ended_at), default=None)
        if node.started_at is None and node.has_begun:
            node.started_at = min((each.started_at for each in node.steps if each.started_at), default=node.ended_at)
        end = self._ends.get(node.key)
        if end is None or not end.ok or node.error is not None:
            return
        if end.of:
            node.result = self._outcome(end.of)
        elif end.parts is not None:
            node.result = [self._outcome(f"{node.key}/{number}") for number in range(end.parts)]

    def _outcome(self, key: str) -> Any:
        """What the newest attempt of a step has come to."""
        number = 0
        while f"{key}~{number + 1}" in self._nodes:
            number += 1
        node = self._nodes.get(f"{key}~{number}" if number else key)
        return None if node is None else node.outcome

    def _new(self, key: str) -> StepNode:
        node = self._nodes[key] = StepNode(key=key)
        return node

    def _numbered(self, node: StepNode, number: int) -> StepNode:
        key = f"{node.key}/{number}"
        if key not in self._nodes:
            node.steps.append(self._new(key))
            node.steps.sort(key=_number)
        return self._nodes[key]


def _of_flow(flow: Flow | None, state: str) -> _Place:
    if flow is None:
        return _Place(None, [], state)
    beside = [each for each in (flow.value.preprocessor_module, flow.value.failure_module) if each is not None]
    return _Place(flow, flow.value.modules, state, beside)


def _rank(key: str, order: Mapping[str, int]) -> int:
    """Steps as they stand in the flow, what comes before all of them, and what after a failure."""
    return order.get(id_of(key), -1 if id_of(key) == PREPROCESSOR else _LAST)


def _has_record(node: StepNode) -> bool:
    """It was begun, as far as records tell."""
    return bool(node.state or node.started_at or node.waits or node.steps)


def _number(part: StepNode) -> int:
    return int(last_word(part.key)) if is_number(part.key) else _LAST


def _state_of(node: StepNode, state: str, *, is_followed: bool) -> str:
    """Of what has no record of its end, in a run of this state."""
    if not _has_record(node) and not is_followed:
        return WAITING if state in LIVE else NOT_REACHED
    if is_followed or state == "succeeded":  # an older release has recorded it
        begun = [each for each in node.steps if each.has_begun]
        return "failed" if begun and begun[-1].state in ENDED_BADLY else "succeeded"
    if state in LIVE:
        return "running"
    return state if state in _CUT else "cut off"
