"""The tree of a flow of every construct, as a worker has recorded it and every reader shows it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from console.windmill.flow_status import flow_status
from shared.flow_nodes import StepNode, all_nodes, id_of
from shared.flow_show import read_steps
from shared.history import show
from shared.run_page import page
from shared.run_record import iso_text
from shared.scripts import operate
from shared.store import Store
from tests.support.eventually import eventually
from tests.support.factories import NOW_ISO, run_fields
from tests.support.flows import (
    Tally,
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


def test_the_tree_is_kept_through_the_death_of_a_worker_and_a_re_drive(
    store: Store, headrace: Callable[..., HeadraceProcess], redis_url: str, tmp_path: Path
) -> None:
    """What had ended keeps its times, what was cut off is told so, and what is around it has ended only at its end."""

    def start() -> HeadraceProcess:
        return headrace("worker", REDIS_URL=redis_url, **FAST).wait_ready()

    def seen() -> dict[str, StepNode]:
        return {node.key: node for node in all_nodes(read_steps(store, RUN, states(store, RUN)[0]))}

    def shown(keys: str) -> list[str]:
        found = seen()
        return [found[key].state for key in keys.split()]

    tally = Tally(tmp_path)
    inner = loop("l", "[1, 2]", step("y", {"v": "flow_input.iter.value"}), step("x"))
    flow = deploy_flow(
        store,
        [identity("i"), branch_one("b", {"true": [inner]}), identity("z")],
        {"y": GIVES, "x": tally.held("x")},
    )
    run_flow(store, flow, RUN)
    worker = start()
    eventually(lambda: tally.is_held)
    before = seen()
    assert shown("i b b/0 b/0/l b/0/l/0 b/0/l/0/y b/0/l/0/x z") == [
        "succeeded", "running", "running", "running", "running", "succeeded", "running", "waiting",
    ]  # fmt: skip
    runners = psutil.Process(worker.pid).children(recursive=True)
    worker.kill9()
    eventually(lambda: not any(runner.is_running() for runner in runners))
    start()
    eventually(lambda: states(store, RUN) == ["interrupted"], timeout_s=20)
    assert set(shown("b b/0 b/0/l b/0/l/0 b/0/l/0/x")) == {"interrupted"}
    assert shown("i b/0/l/0/y z") == ["succeeded", "succeeded", "not reached"]

    assert store.run(operate.retry(RUN, NOW_ISO)) == "queued"
    eventually(lambda: states(store, RUN) == ["succeeded"], timeout_s=20)
    after = seen()
    assert set(shown("i b b/0 b/0/l b/0/l/0 b/0/l/1 z")) == {"succeeded"}
    assert after["b/0/l/0/x"].state == "interrupted"
    assert after["z"].result == after["b"].result == after["b/0/l"].result == [{}, {}]
    for key in ("i", "b", "b/0/l", "b/0/l/0/y"):
        assert after[key].started_at == before[key].started_at, key
    assert (after["b"].ended_at or "") >= (after["b/0/l/1"].ended_at or "") > (after["b/0/l/0/x"].ended_at or "")


@pytest.mark.usefixtures("worker")
def test_a_flow_that_has_waited_was_queued_once_and_its_attempt_took_all_the_time(store: Store) -> None:
    """Each time that it goes on it is queued again, which is nobody's business."""
    flow = deploy_flow(
        store, [step("a", sleep=static(0.3)), loop("p", "[1, 2]", step("x"), value={"parallel": True}), step("z")]
    )
    run_flow(store, flow, RUN)
    eventually(lambda: states(store, RUN) == ["succeeded"])

    details = show(store, RUN)
    run, (attempt,) = details.run, details.attempts
    assert iso_text(run_fields(store, RUN)["created_at"]) == run.queued_at
    assert (run.queued_at or "") <= (run.started_at or "")
    assert (run.attempts, attempt.started_at, attempt.ended_at) == (1, run.started_at, run.ended_at)
    assert (details.steps[0].started_at or "") >= (run.started_at or "")
