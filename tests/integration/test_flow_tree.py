"""The tree of a flow of every construct, as a worker has recorded it and every reader shows it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from console.windmill.flow_status import flow_status
from shared.flow_nodes import StepNode, all_nodes, id_of
from shared.flow_show import read_steps
from shared.history import show
from shared.run_page import page
from shared.store import Store
from tests.support.eventually import eventually
from tests.support.flows import (
    branch_all,
    branch_one,
    deploy_flow,
    loop,
    run_flow,
    static,
    step,
    transforms,
    while_loop,
)
from tests.support.processes import HeadraceProcess
from tests.support.workers import FAST, states

RUN = "q2-api-1"
GIVES = "def main(v=None):\n    return v\n"
FAILS = "def main(v=None):\n    raise ValueError('no')\n"


@pytest.fixture
def store(redis_url: str) -> Store:
    """A store on an empty server."""
    return Store.connect(redis_url)


@pytest.fixture
def worker(headrace: Callable[..., HeadraceProcess], redis_url: str) -> HeadraceProcess:
    """A worker that is ready."""
    return headrace("worker", REDIS_URL=redis_url, **FAST).wait_ready()


def sub_flow(step_id: str, path: str, inputs: Mapping[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """A step that is a flow."""
    return {
        "id": step_id,
        "value": {"type": "flow", "path": path, "input_transforms": transforms(inputs or {})},
        **fields,
    }


def identity(step_id: str, **fields: Any) -> dict[str, Any]:
    """A step that passes on what it is given."""
    return {"id": step_id, "value": {"type": "identity"}, **fields}


def every_construct(store: Store) -> Any:
    """A flow of them, each of which gives the text of its name to the last step."""
    inner = deploy_flow(store, [step("i1", {"v": "flow_input.x"}), identity("i2")], {"i1": GIVES}, path="f/t/inner")
    branches = branch_one("br", {"false": [step("b1")], "true": [step("b2", {"v": 2}), identity("b3")]})
    branches["value"]["branches"][1]["summary"] = "the small one"
    modules = [
        identity("first"),
        step("mo", mock={"enabled": True, "return_value": {"m": 1}}),
        step("sk", skip_if={"expr": "true"}),
        sub_flow("fl", "f/t/inner", {"x": 7}),
        branches,
        branch_one("de", {"false": [step("d1")]}, sleep=static(0.01)),
        loop("lo", "[5, 6]", step("l1", {"v": "flow_input.iter.value"}), value={"skip_failures": True}),
        loop("pa", "[5, 6]", step("p1", {"v": "flow_input.iter.value"}), value={"parallel": True}),
        branch_all("ba", [step("a1", {"v": 1})], [step("a2")], skip_failure=True),
        while_loop("wh", step("w1", {"v": "flow_input.iter.index"}, stop_after_if={"expr": "result >= 1"})),
        step("re", retry={"constant": {"attempts": 1, "seconds": 1}}, continue_on_error=True),
        step("all", {"v": "Object.fromEntries(Object.entries(results))"}),
    ]
    sources = dict.fromkeys(["b2", "l1", "p1", "a1", "w1", "all"], GIVES) | {"a2": FAILS, "re": FAILS}
    return deploy_flow(store, modules, sources, flows={"fl": inner})


def told(steps: list[StepNode]) -> dict[str, str]:
    """The state of each step by its key."""
    return {node.key: node.state for node in all_nodes(steps)}


@pytest.mark.usefixtures("worker")
def test_every_step_of_a_flow_is_shown_with_state_times_and_what_it_gives_to_the_next(store: Store) -> None:
    """What results.<id> was for the last step is the result of that node, whatever it consists of."""
    run_flow(store, every_construct(store), RUN, {"go": 1})
    eventually(lambda: states(store, RUN) == ["succeeded"])

    steps = read_steps(store, RUN, "succeeded")
    known = show(store, RUN).run.result
    by_key = {node.key: node for node in all_nodes(steps)}
    own = [node for node in steps if node.key != "all"]
    last = {id_of(node.key): node.outcome for node in own}
    assert last == {step: known[step] for step in last}
    assert [node.key for node in own] == [
        "first", "mo", "sk", "fl", "br", "de", "lo", "pa", "ba", "wh", "re", "re~1",
    ]  # fmt: skip
    assert {key: state for key, state in told(steps).items() if state != "succeeded"} == {
        "mo": "mocked", "sk": "skipped", "ba/1": "failed", "ba/1/a2": "failed", "re": "failed", "re~1": "failed",
    }  # fmt: skip
    assert all(node.started_at and node.ended_at and node.started_at <= node.ended_at for node in by_key.values())
    assert by_key["first"].result == {"go": 1}
    assert (by_key["fl"].inputs, by_key["fl"].runnable) == ({"x": 7}, "f/t/inner")
    assert (by_key["br/1"].kind, by_key["br/1"].summary, by_key["de/1"].kind) == ("branch", "the small one", "default")
    assert [node.value for node in by_key["lo"].steps] == [5, 6]
    assert by_key["pa"].steps[1].run
    assert [(pause.why, pause.seconds) for key in ("de", "re") for pause in by_key[key].waits] == [
        ("sleep", 0.01), ("retry", 1),
    ]  # fmt: skip
    shown = page(show(store, RUN))
    assert "branch the small one" in shown
    assert "default branch" in shown
    assert "then wait 1 s to be tried again" in shown
    modules = {module["id"]: module for module in flow_status(steps, RUN)["modules"]}
    assert list(modules) == ["first", "mo", "sk", "fl", "br", "de", "lo", "pa", "ba", "wh", "re", "all"]
    assert {module["type"] for step, module in modules.items() if step != "re"} == {"Success"}
    assert modules["br"]["branch_chosen"] == {"type": "branch", "branch": 1}
    assert modules["de"]["branch_chosen"] == {"type": "default"}
    assert modules["lo"]["iterator"] == {"index": 1, "itered": [5, 6]}
    assert modules["ba"]["flow_jobs_success"] == [True, False]
    assert json.dumps(known)
