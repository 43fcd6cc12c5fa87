"""A flow as a drawing: steps below each other, branches side by side, what a loop repeats in a frame. Pure.

It is made of the flow's value as JSON (OpenFlow), so that a flow of any release can be drawn: what is not known is
a box.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

WIDTH: Final = 196
HEIGHT: Final = 66
GAP: Final = 30
ASIDE: Final = 28
PADDING: Final = 16
LABEL: Final = 22
_INSIDE: Final = WIDTH - 24
"""Room for a line of text in a box."""
_NAME_SIZE: Final = 13
_SIZE: Final = 11
"""Of the letters, in pixels, as in the stylesheet."""
_WIDE: Final = frozenset("MWmw@%—…")
_KINDS: Final[Mapping[str, str]] = {
    "rawscript": "code", "script": "script", "flow": "flow", "branchone": "one branch", "branchall": "all branches",
    "forloopflow": "for each", "whileloopflow": "while", "identity": "pass on",
}  # fmt: skip


class Node(msgspec.Struct, frozen=True):
    """A step: its box, what stands in it, and how it has fared, which is told at `key` ('' if it is not known)."""

    x: float
    y: float
    id: str
    label: str
    kind: str
    tone: str = ""
    state: str = ""
    key: str = ""


class Label(msgspec.Struct, frozen=True):
    """Words beside an edge, in the middle of which they stand."""

    x: float
    y: float
    text: str


class Frame(msgspec.Struct, frozen=True):
    """What a loop repeats."""

    x: float
    y: float
    width: float
    height: float


class Drawing(msgspec.Struct, frozen=True):
    """All of it, from the top left corner on. `edges` are paths of SVG; `box` is width and height of the boxes."""

    width: float
    height: float
    box: tuple[float, float]
    nodes: list[Node]
    edges: list[str]
    labels: list[Label]
    frames: list[Frame]


class StepState(msgspec.Struct, frozen=True):
    """How a step of a run has fared, in one word and in a few; `key` is where that is told."""

    tone: str
    text: str
    key: str = ""


def draw(value: Mapping[str, Any], states: Mapping[str, StepState]) -> Drawing:
    """The drawing of a flow's value; `states` by the ids of steps."""
    pen = _Pen(states)
    modules = _modules(value.get("modules"))
    width, height = _size(modules)
    extra = [module for name in ("failure_module",) if isinstance(module := value.get(name), dict)]
    aside = (WIDTH + 2 * ASIDE) * len(extra)
    bottom = pen.sequence(modules, width / 2 + PADDING, PADDING, None)
    for index, module in enumerate(extra):
        x = width + PADDING + ASIDE + index * (WIDTH + ASIDE) + WIDTH / 2
        pen.labels.append(Label(x, PADDING + LABEL / 2, "when it fails"))
        pen.node(module, x, PADDING + LABEL)
    total = max(bottom, height + PADDING, PADDING + LABEL + HEIGHT if extra else 0)
    size = width + aside + 2 * PADDING, total + PADDING
    return Drawing(*size, (WIDTH, HEIGHT), pen.nodes, pen.edges, pen.labels, pen.frames)


def fit(text: str, width: float, size: float) -> str:
    """As much of a text as has room in so many pixels, with letters of this size."""
    if sum(map(_em, text)) * size <= width:
        return text
    room, kept = width / size - 1, 0
    while kept < len(text) and (room := room - _em(text[kept])) >= 0:
        kept += 1
    return f"{text[:kept].rstrip()}…"


def _em(letter: str) -> float:
    """The width of a letter, rather too much than too little: fonts differ."""
    if unicodedata.east_asian_width(letter) in "WF":
        return 1.05
    if letter in _WIDE:
        return 0.95
    return 0.72 if letter.isupper() else 0.58


class _Pen:
    """Collects what is drawn. Places are the middle of an upper edge; methods give where they have ended."""

    def __init__(self, states: Mapping[str, StepState]) -> None:
        self.nodes: list[Node] = []
        self.edges: list[str] = []
        self.labels: list[Label] = []
        self.frames: list[Frame] = []
        self._states = states

    def sequence(self, modules: Sequence[Mapping[str, Any]], x: float, y: float, source: float | None) -> float:
        """Steps below each other; an edge leads to the first from `source`, which is above it in its middle."""
        before = source
        for module in modules:
            if before is not None:
                self._edge(x, before, x, y)
            before = self._module(module, x, y)
            y = before + GAP
        return y - GAP if modules else y

    def node(self, module: Mapping[str, Any], x: float, y: float) -> None:
        """The box of one step."""
        state = self._states.get(str(module.get("id")), StepState("", ""))
        step_id, value = str(module.get("id", "?")), _value(module)
        kind = _KINDS.get(str(value.get("type")), str(value.get("type")))
        name = str(module.get("summary") or value.get("path") or step_id)
        detail = fit(f"{step_id} · {kind}" if name != step_id else kind, _INSIDE, _SIZE)
        shown = fit(state.text, _INSIDE, _SIZE)
        self.nodes.append(
            Node(x - WIDTH / 2, y, step_id, fit(name, _INSIDE, _NAME_SIZE), detail, state.tone, shown, state.key)
        )

    def _module(self, module: Mapping[str, Any], x: float, y: float) -> float:
        self.node(module, x, y)
        bottom = y + HEIGHT
        branches = _branches(module)
        if branches is not None:
            return self._forks(branches, x, bottom)
        body = _body(module)
        if body is None:
            return bottom
        width, height = _size(body)
        top = bottom + GAP
        framed = Frame(x - width / 2 - PADDING, top - PADDING / 2, width + 2 * PADDING, height + PADDING)
        self.frames.append(framed)
        self._edge(x, bottom, x, framed.y)
        self.sequence(body, x, top, None)
        return framed.y + framed.height

    def _forks(self, branches: Sequence[tuple[str, Sequence[Mapping[str, Any]]]], x: float, y: float) -> float:
        sizes = [_size(modules) for _, modules in branches]
        left = x - _beside(sizes) / 2
        top, ends = y + GAP + LABEL, []
        for (text, modules), (width, _) in zip(branches, sizes, strict=True):
            middle = left + width / 2
            self._edge(x, y, middle, top - LABEL)
            self.labels.append(Label(middle, top - LABEL / 2 + 4, fit(text, width, _SIZE)))
            ends.append((middle, self.sequence(modules, middle, top, None)))
            left += width + ASIDE
        lowest = max((end for _, end in ends), default=top)
        for middle, end in ends:
            if end < lowest:  # straight down beside the others, so that no edge crosses a box
                self.edges.append(f"M{middle:g} {end:g}V{lowest:g}")
            self._edge(middle, lowest, x, lowest + GAP)
        return lowest + GAP

    def _edge(self, x: float, y: float, to_x: float, to_y: float) -> None:
        half = (to_y - y) / 2
        self.edges.append(f"M{x:g} {y:g}C{x:g} {y + half:g} {to_x:g} {to_y - half:g} {to_x:g} {to_y:g}")


def _size(modules: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Width and height of steps below each other."""
    sizes = [_module_size(module) for module in modules]
    if not sizes:
        return WIDTH / 2, 0
    return max(width for width, _ in sizes), sum(height for _, height in sizes) + GAP * (len(sizes) - 1)


def _module_size(module: Mapping[str, Any]) -> tuple[float, float]:
    branches = _branches(module)
    if branches is not None:
        sizes = [_size(modules) for _, modules in branches]
        tallest = max((height for _, height in sizes), default=0)
        return max(WIDTH, _beside(sizes)), HEIGHT + GAP + LABEL + tallest + GAP
    body = _body(module)
    if body is None:
        return WIDTH, HEIGHT
    width, height = _size(body)
    return max(WIDTH, width) + 2 * PADDING, HEIGHT + GAP + height + PADDING / 2


def _beside(sizes: Sequence[tuple[float, float]]) -> float:
    return sum(width for width, _ in sizes) + ASIDE * max(0, len(sizes) - 1)


def _branches(module: Mapping[str, Any]) -> list[tuple[str, list[Mapping[str, Any]]]] | None:
    """The branches of a step with what is said of each; None for a step without."""
    value = _value(module)
    if value.get("type") not in {"branchone", "branchall"}:
        return None
    given = [branch for branch in value.get("branches") or [] if isinstance(branch, dict)]
    found = [
        (str(branch.get("summary") or branch.get("expr") or f"branch {index}"), _modules(branch.get("modules")))
        for index, branch in enumerate(given, 1)
    ]
    return [*found, ("otherwise", _modules(value.get("default")))] if value["type"] == "branchone" else found


def _body(module: Mapping[str, Any]) -> list[Mapping[str, Any]] | None:
    value = _value(module)
    return _modules(value.get("modules")) if value.get("type") in {"forloopflow", "whileloopflow"} else None


def _value(module: Mapping[str, Any]) -> Mapping[str, Any]:
    value = module.get("value")
    return value if isinstance(value, dict) else {}


def _modules(given: Any) -> list[Mapping[str, Any]]:
    return [module for module in given or [] if isinstance(module, dict)]
