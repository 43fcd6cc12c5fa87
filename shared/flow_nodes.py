"""A step of a run of a flow, as it is shown everywhere. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

WAITING: Final = "waiting"
NOT_REACHED: Final = "not reached"
NOT_BEGUN: Final = frozenset({WAITING, NOT_REACHED, ""})
ENDED_BADLY: Final = frozenset({"failed", "interrupted", "cancelled", "lost", "cut off"})
LOOPS: Final = frozenset({"forloopflow", "whileloopflow"})
STEPS_SHOWN: Final = 60
"""Iterations of a loop that a page for people lists."""


class Pause(msgspec.Struct, frozen=True):
    """After a step the flow has waited, from `began_at` on (ISO 8601), because of `why`: `sleep` or `retry`.

    `seconds` is None in records of older releases.
    """

    why: str
    began_at: str
    seconds: float | None = None


class StepNode(msgspec.Struct, kw_only=True):
    """A step of a flow, or an iteration or branch of one, with what stands within it.

    `key` tells where it stands: `l/3/x` is step x in iteration 3 of l, `x~1` its second attempt. `kind` is OpenFlow's
    name of it, or `iteration`, `branch`, `default` (that of a branchone).

    `state` is one of waiting (for its time, or to be begun), running, succeeded, failed, skipped, mocked, interrupted,
    cancelled, lost, cut off (the run has ended, and the step had not), not reached. Times are ISO 8601 in UTC. `result`
    is what `results.<id>` gives to the steps after it, of one that has failed `error`. `run` is the run that carries it
    out where that is one of its own. `items` are those of a loop where they are known, `count` is how many, and `value`
    that of an iteration. `left_out`: how many of the iterations do not stand in `steps` (see `abridged`), by state.
    """

    key: str
    kind: str = ""
    summary: str = ""
    state: str = ""
    started_at: str | None = None
    ended_at: str | None = None
    runnable: str | None = None
    version: str | None = None
    starts: int = 0
    inputs: Any = None
    items: list[Any] | None = None
    count: int | None = None
    value: Any = None
    result: Any = None
    error: dict[str, Any] | None = None
    log: str = ""
    labels: list[str] = []
    waits: list[Pause] = []
    run: str | None = None
    steps: list[StepNode] = []
    left_out: dict[str, int] = {}

    @property
    def outcome(self) -> Any:
        """What stands in the place of its result for the steps after it."""
        return self.result if self.error is None else {"error": self.error}

    @property
    def has_begun(self) -> bool:
        """It is more than a place in the flow."""
        return self.state not in NOT_BEGUN


def last_word(key: str) -> str:
    """The end of a key, which says what it is in the list that it stands in."""
    return key.rpartition("/")[2]


def id_of(key: str) -> str:
    """The id of the step with this key, or the number of the iteration or branch."""
    return last_word(key).partition("~")[0].partition("#")[0]


def attempt_of(key: str) -> int:
    """Which attempt of the step it is, from 0."""
    number = last_word(key).partition("~")[2]
    return int(number) if number.isdecimal() else 0


def is_number(key: str) -> bool:
    """It is an iteration or a branch."""
    return last_word(key).isdecimal()


def all_nodes(steps: Iterable[StepNode]) -> Iterator[StepNode]:
    """Each before what stands within it."""
    for node in steps:
        yield node
        yield from all_nodes(node.steps)


def abridged(steps: Iterable[StepNode], most: int) -> list[StepNode]:
    """The same for people: of more iterations or parts than `most` a third each of the first, of the first that have
    not succeeded, and of the last.
    """
    found = []
    for node in steps:
        kept = _kept(node.steps, most // 3) if len(node.steps) > most and is_number(node.steps[0].key) else node.steps
        there = {each.key for each in kept}
        left_out = Counter(each.state for each in node.steps if each.key not in there)
        found.append(msgspec.structs.replace(node, steps=abridged(kept, most), left_out=dict(left_out)))
    return found


def _kept(steps: list[StepNode], third: int) -> list[StepNode]:
    others = [each.key for each in steps if each.state != "succeeded"][:third]
    wanted = {each.key for each in (*steps[:third], *steps[-third:])} | {*others}
    return [each for each in steps if each.key in wanted]


def all_logs(steps: Iterable[StepNode]) -> list[tuple[str, str]]:
    """(key, log) of every step that has printed something."""
    return [(node.key, node.log) for node in all_nodes(steps) if node.log]


def title(node: StepNode) -> str:
    """What a step is called where it stands: its id, the number of an iteration, the summary of a branch."""
    word = last_word(node.key)
    if node.kind == "default":
        return "default branch"
    if node.kind == "branch":
        return f"branch {node.summary or word}"
    if word.isdecimal():
        return f"iteration {word}" if node.kind == "iteration" else f"number {word}"
    attempt = attempt_of(node.key)
    return f"{id_of(node.key)}, attempt {attempt + 1}" if attempt else word
