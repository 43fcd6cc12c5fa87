"""Random flows: the interpreter against one that carries them out directly, and begun anew at every effect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.definitions import Flow, Runnable
from shared.openflow import FlowModule, FlowStep, FlowValue, RawScript, walk
from tests.property.direct_flow import Direct, Expressions, StepFailed, Variables
from worker.flows.deadlines import Deadlines
from worker.flows.effects import (
    Again,
    Allow,
    Answer,
    Asking,
    Done,
    Effect,
    Entered,
    Execute,
    Failed,
    FanOut,
    Left,
    Outcome,
    Turn,
    Wait,
)
from worker.flows.evaluation import Evaluator, Valued, is_steady
from worker.flows.interpreter import Known, interpret, interpret_part
from worker.flows.parts import find_part

FAILS = -1
RECOVERS = -2


def _at(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _at_least(value: Any, least: int) -> bool:
    return isinstance(value, int) and value >= least


CONDITIONS: Expressions = {
    "true": lambda _: True,
    "false": lambda _: False,
    "previous_result": lambda known: known["previous_result"],
    "previous_result === 1": lambda known: known["previous_result"] == 1,
    "flow_input.go": lambda known: _at(known, "flow_input", "go"),
    "flow_input.iter?.index >= 1": lambda known: _at_least(_at(known, "flow_input", "iter", "index"), 1),
    "results.a": lambda known: _at(known, "results", "a"),
}
LISTS: Expressions = {
    "[]": lambda _: [],
    "[1]": lambda _: [1],
    "[1, 2]": lambda _: [1, 2],
    "flow_input.items": lambda known: _at(known, "flow_input", "items"),
}
VALUES: Expressions = {
    "previous_result": lambda known: known["previous_result"],
    "flow_input.iter?.value": lambda known: _at(known, "flow_input", "iter", "value"),
    "flow_input.iter_parent?.index": lambda known: _at(known, "flow_input", "iter_parent", "index"),
    "Object.keys(results).sort().join()": lambda known: ",".join(sorted(known["results"])),
    "results.b": lambda known: _at(known, "results", "b"),
}
ERRORS: Expressions = {
    "error.step_id": lambda known: known["error"]["step_id"],
    "error.name === 'Bad'": lambda known: known["result"]["error"]["name"] == "Bad",
    "false": lambda _: False,
}
ENDLESS: Expressions = {"flow_input.iter.index >= 1": lambda known: known["flow_input"]["iter"]["index"] >= 1}
EXPRESSIONS: Expressions = {**CONDITIONS, **LISTS, **VALUES, **ERRORS, **ENDLESS}
GIVEN: Variables = {"go": True, "items": [5, 6, 7]}

condition = st.sampled_from(sorted(CONDITIONS))


def javascript(expr: str) -> dict[str, str]:
    """An input transform."""
    return {"type": "javascript", "expr": expr}


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly nothing."""
    return st.one_of(st.none(), st.none(), strategy)


inputs = st.dictionaries(st.just("x"), st.sampled_from(sorted(VALUES)).map(javascript), max_size=1)
stop = st.builds(
    lambda expr, message, skip: {"expr": expr, "error_message": message, "skip_if_stopped": skip},
    condition,
    maybe(st.just("enough")),
    st.booleans(),
)
retry = st.builds(
    lambda attempts, seconds, expr: {"constant": {"attempts": attempts, "seconds": seconds}, "retry_if": expr},
    st.integers(1, 2),
    st.integers(0, 1),
    st.sampled_from([None, "error.name === 'Bad'", "false"]),
)


@st.composite
def modules(draw: st.DrawFn, depth: int = 2) -> list[dict[str, Any]]:
    """Some steps."""
    return draw(st.lists(module(depth), max_size=3))


@st.composite
def module(draw: st.DrawFn, depth: int) -> dict[str, Any]:
    """A step, with a bit of everything around it."""
    kinds = ["script", "script", "identity"] + (["one", "all", "for", "for", "while", "flow"] if depth else [])
    kind = draw(st.sampled_from(kinds))
    found: dict[str, Any] = {
        "stop_after_if": draw(maybe(stop)),
        "stop_after_all_iters_if": draw(maybe(stop)),
        "skip_if": draw(maybe(st.builds(lambda expr: {"expr": expr}, condition))),
        "sleep": draw(maybe(st.just({"type": "static", "value": 3}))),
        "retry": draw(maybe(retry)),
        "continue_on_error": draw(st.booleans()),
        "timeout": None if kind in {"script", "identity"} else draw(maybe(st.just({"type": "static", "value": 9}))),
        "mock": draw(maybe(st.just({"enabled": True, "return_value": 9}))),
    }
    found["value"] = value = {"type": "rawscript", "input_transforms": draw(inputs)}
    if kind == "identity":
        found["value"] = {"type": "identity"}
    elif kind == "flow":
        value |= {"type": "flow", "path": "inner"}
    elif kind == "one":
        branches = draw(st.lists(st.tuples(condition, modules(depth - 1)), max_size=2))
        listed = [{"expr": expr, "modules": steps} for expr, steps in branches]
        found["value"] = {"type": "branchone", "branches": listed, "default": draw(modules(depth - 1))}
    elif kind == "all":
        branches = draw(st.lists(st.tuples(st.booleans(), modules(depth - 1)), max_size=2))
        listed = [{"skip_failure": skip, "modules": steps} for skip, steps in branches]
        found["value"] = {"type": "branchall", "branches": listed, "parallel": draw(st.booleans())}
    elif kind == "for":
        found["value"] = {
            "type": "forloopflow",
            "iterator": javascript(draw(st.sampled_from(sorted(LISTS)))),
            "modules": draw(modules(depth - 1)),
            "skip_failures": draw(st.booleans()),
            "parallel": draw(st.booleans()),
        }
    elif kind == "while":
        found["value"] = {"type": "whileloopflow", "modules": draw(modules(depth - 1))}
        found["stop_after_if"] = {"expr": next(iter(ENDLESS))}
    return {name: each for name, each in found.items() if each is not None}


@st.composite
def flows(draw: st.DrawFn) -> tuple[Flow, dict[str, Flow]]:
    """A flow, and the flow that it may run, by version."""
    inner = draw(flow_with(modules(1), {}))
    outer = draw(flow_with(modules(), {"inner": Runnable("inner", "v", 0, is_flow=True)}))
    return outer, {"v": inner}


@st.composite
def flow_with(draw: st.DrawFn, steps: st.SearchStrategy[Any], within: Mapping[str, Runnable]) -> Flow:
    """A flow of these steps, perhaps with a failure module."""
    raw: dict[str, Any] = {"modules": draw(steps)}
    if draw(st.booleans()):
        value = {"type": "rawscript", "input_transforms": {"step": javascript("error.step_id")}}
        raw["failure_module"] = {"id": "failure", "value": value}
    names = iter("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" * 4)
    _name(raw["modules"], names)
    value = msgspec.convert(raw, FlowValue)
    runnables = {
        each.id: within["inner"] if isinstance(each.value, FlowStep) else Runnable(each.id, each.id, 0)
        for each in walk(value)
        if isinstance(each.value, RawScript | FlowStep) and not (isinstance(each.value, FlowStep) and not within)
    }
    return Flow("f", _without_flows(value) if not within else value, None, runnables)


def _name(steps: list[dict[str, Any]], names: Any, taken: set[str] | None = None) -> None:
    taken = set() if taken is None else taken
    for each in steps:
        name = next(names)
        while name in taken:
            name += "x"
        taken.add(name)
        each["id"] = name
        value = each["value"]
        for inner in [value.get("modules"), value.get("default"), *(b["modules"] for b in value.get("branches", []))]:
            _name(inner or [], names, taken)


def _without_flows(value: FlowValue) -> FlowValue:
    """The innermost flow runs none."""
    text = msgspec.json.encode(value).replace(b'"type":"flow"', b'"type":"identity"')
    return msgspec.json.decode(text, type=FlowValue)


class World:
    """What happens when steps are executed, in the order in which they are, and what has happened so far."""

    def __init__(self, results: list[int]) -> None:
        self._results = results
        self.story: list[tuple[str, Any]] = []

    def call(self, step: str, given: Variables) -> Any:
        """The result of a step, or StepFailed."""
        result = self._results[len(self.story) % len(self._results)]
        self.story.append((step, given))
        if result == FAILS:
            raise StepFailed({"name": "Bad" if len(self.story) % 2 else "Worse", "message": "no", "step_id": step})
        return {"recover": True} if result == RECOVERS else result

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.story.append(("wait", seconds))


class Memory:
    """Does what the interpreter asks for; forgets all but the answers when it crashes, before each new effect."""

    def __init__(self, world: World, flow: Flow, within: Mapping[str, Flow], *, crashes: bool) -> None:
        self._world = world
        self._flow = flow
        self._within = within
        self._crashes = crashes
        self._answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.overruled: set[str] = set()

    def run(self, begin: Callable[[], Asking[Outcome]]) -> Outcome:
        """To the end, however often it is begun."""
        crashed: set[str] = set()
        while True:
            asking, answer = begin(), None
            try:
                while True:
                    effect = asking.send(answer) if answer is not None else next(asking)
                    if self._crashes and effect.key not in self._answers and effect.key not in crashed:
                        crashed.add(effect.key)
                        break
                    answer = self._answer(effect)
            except StopIteration as end:
                outcome: Outcome = end.value
                return outcome

    def _answer(self, effect: Effect) -> Answer:
        if isinstance(effect, Again):
            return Done(effect.key in self.overruled)
        if isinstance(effect, Entered | Left):
            return Done()
        if effect.key not in self._answers:
            answer = self._new(effect)
            if not isinstance(effect, Execute | Wait | FanOut | Allow | Turn) and is_steady(effect):
                return answer
            assert effect.key not in self.asked, "a key stands for one thing"
            self.asked.append(effect.key)
            self._answers[effect.key] = answer
        return self._answers[effect.key]

    def _new(self, effect: Execute | Wait | FanOut | Allow | Turn | Valued) -> Answer:
        match effect:
            case Allow():
                return Deadlines(lambda: 0, Evaluator()).allow(effect)
            case Turn() | Wait():
                if isinstance(effect, Wait):
                    self._world.wait(effect.seconds)
                return Done()
            case Execute():
                try:
                    return Done(self._world.call(effect.step, Evaluator().inputs_of(effect).result))
                except StepFailed as failed:
                    return Failed(failed.error)
            case FanOut():
                return Done([self._part(effect, number, item) for number, item in effect.parts])
            case _:
                return Evaluator().evaluate(effect)

    def _part(self, effect: FanOut, number: int, item: Any) -> Answer:
        known = Known(dict(effect.flow_input), dict(effect.results), item)
        part = find_part(self._flow, self._within, f"{effect.container}/{number}")
        memory = Memory(self._world, self._flow, self._within, crashes=self._crashes)
        outcome = memory.run(lambda: interpret_part(part, self._within, known))
        return Done(outcome.result) if outcome.ok else Failed(outcome.error or {})


def directly(flow: Flow, within: Mapping[str, Flow], results: list[int]) -> tuple[Any, list[tuple[str, Any]]]:
    """What comes of a flow, and what happens on the way."""
    world = World(results)
    direct = Direct(EXPRESSIONS, world.call, world.wait, within)
    try:
        return ("well", *direct.flow(flow, GIVEN)), world.story
    except StepFailed as failed:
        return ("badly", failed.error["name"], failed.error.get("step_id")), world.story


def interpreted(
    flow: Flow, within: Mapping[str, Flow], results: list[int], *, crashes: bool
) -> tuple[Any, list[tuple[str, Any]]]:
    """The same by the interpreter."""
    world = World(results)
    memory = Memory(world, flow, within, crashes=crashes)
    outcome = memory.run(lambda: interpret(flow, within, GIVEN))
    if outcome.ok:
        return ("well", outcome.result, outcome.skipped), world.story
    error = outcome.error or {}
    return ("badly", error["name"], error.get("step_id")), world.story


@pytest.mark.timeout(300)
@settings(max_examples=100, deadline=None)
@given(flows(), st.lists(st.sampled_from([0, 1, 2, FAILS, FAILS, RECOVERS]), min_size=1, max_size=12))
def test_a_flow_comes_to_what_carrying_it_out_directly_comes_to(
    both: tuple[Flow, dict[str, Flow]], results: list[int]
) -> None:
    """The same steps with the same inputs in the same order, the same waits, the same end; also through crashes."""
    flow, within = both
    expected = directly(flow, within, results)
    assert interpreted(flow, within, results, crashes=False) == expected
    assert interpreted(flow, within, results, crashes=True) == expected


@pytest.mark.timeout(300)
@settings(max_examples=60, deadline=None)
@given(flows(), st.lists(st.sampled_from([0, 1, FAILS]), min_size=1, max_size=12))
def test_a_flow_that_failed_goes_on_with_what_has_failed(
    both: tuple[Flow, dict[str, Flow]], results: list[int]
) -> None:
    """However often somebody asks for it: what had ended is not done again (Memory asserts that no key is)."""
    flow, within = both
    world = World(results)
    memory = Memory(world, flow, within, crashes=True)
    outcome = memory.run(lambda: interpret(flow, within, GIVEN))
    for _ in range(3):
        if outcome.ok or not outcome.failed_at:
            break
        memory.overruled.add(outcome.failed_at)
        before = len(memory.asked)
        outcome = memory.run(lambda: interpret(flow, within, GIVEN))
        assert len(memory.asked) > before, "something is done"


def test_the_generated_flows_are_not_all_alike() -> None:
    """A strategy that makes nothing would prove nothing."""
    kinds: set[str] = set()

    @settings(max_examples=100, deadline=None, database=None, derandomize=True)
    @given(flows())
    def look(both: tuple[Flow, dict[str, Flow]]) -> None:
        kinds.update(type(each.value).__name__ for each in walk(both[0].value))

    look()
    assert len(kinds) == 7
    assert isinstance(FlowModule("a", RawScript()), FlowModule)
