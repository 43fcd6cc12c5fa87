"""Random flows, written as OpenFlow: what is read is what was written, and what was deployed is what is read again."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, settings

from shared.definitions import Flow, decode_definition, encode_definition
from shared.openflow import map_modules, walk
from shared.workspace.flow_steps import Steps
from shared.workspace.problems import Problems
from shared.workspace.yaml_lines import read_yaml
from tests.property.test_flows import flows


def openflow(value: Any) -> Any:
    """A flow's value as its file holds it: the two things that a deployed flow has in another form."""
    match value:
        case {"type": "rawscript"}:
            return {**{name: openflow(each) for name, each in value.items()}, "language": "bash", "content": "ls"}
        case {"retry_if": str(expr)}:
            return {**value, "retry_if": {"expr": expr}}
        case dict():
            return {name: openflow(each) for name, each in value.items()}
        case list():
            return [openflow(each) for each in value]
        case _:
            return value


@settings(max_examples=60, deadline=None)
@given(flows())
def test_a_flow_is_read_as_it_was_written(drawn: tuple[Flow, dict[str, Flow]]) -> None:
    """Every step with all that surrounds it."""
    flow, _ = drawn
    problems = Problems()
    table = read_yaml("flow.yaml", msgspec.json.encode(openflow(msgspec.to_builtins(flow.value))).decode(), problems)
    assert table is not None
    steps = Steps()

    assert (steps.read(table), problems.errors, steps.complete) == (flow.value, [], True)
    assert set(steps.found.ids) == {module.id for module in walk(flow.value)}


@settings(max_examples=60, deadline=None)
@given(flows())
def test_a_deployed_flow_is_the_same_flow(drawn: tuple[Flow, dict[str, Flow]]) -> None:
    """Through JSON, and through a change that changes nothing."""
    flow, _ = drawn

    assert decode_definition(encode_definition(flow)[1], Flow) == flow
    assert map_modules(flow.value, lambda module: module) == flow.value
