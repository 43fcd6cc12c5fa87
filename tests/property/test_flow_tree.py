"""Random flows: what the tree of steps shows is what the steps came to, though it stands elsewhere in the records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.definitions import Flow
from shared.flow_nodes import ENDED_BADLY, all_nodes
from shared.flow_records import BEGUN, Begun, encode
from shared.flow_tree import Definitions, Recorded, make_tree
from tests.property.test_flows import FAILS, GIVEN, RECOVERS, Memory, World, flows
from worker.flows.effects import Again, Answer, Done, Effect, Entered, Execute, Failed, FanOut, Left, Wait
from worker.flows.interpreter import Known, interpret, interpret_part
from worker.flows.marks import mark
from worker.flows.parts import find_part
from worker.flows.records import Records


class Watch:
    """A clock that goes on with each look, and nothing that is secret."""

    def __init__(self) -> None:
        self._now = 0

    def now_ms(self) -> int:
        """The next one."""
        self._now += 1
        return self._now

    def without_secrets(self, inputs: Any) -> tuple[Any, bool]:
        """All of it."""
        return inputs, False


class Recording(Memory):
    """Records what happens as a worker does, and keeps what was told besides."""

    def __init__(self, world: World, flow: Flow, within: Mapping[str, Flow], watch: Watch) -> None:
        super().__init__(world, flow, within, crashes=False)
        self._watch = watch
        self.records = Records({}, watch.now_ms)
        self.told: dict[str, Answer] = {}

    def _answer(self, effect: Effect) -> Answer:
        if isinstance(effect, Again):
            return super()._answer(effect)
        if isinstance(effect, Entered | Left):
            mark(effect, self.records, self._watch)
            if isinstance(effect, Left):
                self.told[effect.key] = effect.answer
            return Done()
        if isinstance(effect, Execute):
            self.records.put(effect.key + BEGUN, encode(Begun(self._watch.now_ms())))
        answer = super()._answer(effect)
        if isinstance(effect, Execute):
            self.told[effect.key] = answer
        if isinstance(effect, FanOut):
            for (number, _), end in zip(effect.parts, answer.result, strict=True):
                self.records.note(f"{effect.fan}/{number}", end)
        else:
            self.records.note(effect.key, Done(effect.seconds) if isinstance(effect, Wait) else answer)
        return answer

    def _part(self, effect: FanOut, number: int, item: Any) -> Answer:
        part = find_part(self._flow, self._within, f"{effect.container}/{number}")
        memory = Recording(self._world, self._flow, self._within, self._watch)
        known = Known(dict(effect.flow_input), dict(effect.results), item)
        outcome = memory.run(lambda: interpret_part(part, self._within, known))
        self.told |= memory.told
        for name, blob in memory.records.news.fields.items():
            self.records.put(name, blob)
        return Done(outcome.result) if outcome.ok else Failed(outcome.error or {})


@pytest.mark.timeout(300)
@settings(max_examples=150, deadline=None)
@given(flows(), st.lists(st.sampled_from([0, 1, 2, FAILS, FAILS, RECOVERS]), min_size=1, max_size=12))
def test_every_node_shows_what_its_step_came_to(both: tuple[Flow, dict[str, Flow]], results: list[int]) -> None:
    """Results of all that was told, errors too; and each step that ended has its times."""
    flow, within = both
    watch = Watch()
    memory = Recording(World(results), flow, within, watch)
    outcome = memory.run(lambda: interpret(flow, within, GIVEN))
    state = "succeeded" if outcome.ok else "failed"
    steps = make_tree(Recorded(memory.records.news.fields, {}, state), Definitions(flow, within))

    nodes = {node.key: node for node in all_nodes(steps)}
    for key, answer in memory.told.items():
        node = nodes[key]
        if isinstance(answer, Failed):
            assert (node.state in ENDED_BADLY, node.error) == (True, answer.error), key
        else:
            assert node.state in {"succeeded", "mocked", "skipped"}, (key, node.state)
            assert msgspec.json.encode(node.outcome) == msgspec.json.encode(answer.result), key
        assert node.started_at is not None, key
        assert node.ended_at is not None, key
        assert node.started_at <= node.ended_at, key
    assert not {node.state for node in nodes.values()} & {"running", "waiting", "cut off", ""}
    assert [node.key for node in steps if "~" not in node.key and node.key != "failure"] == [
        module.id for module in flow.value.modules
    ]
