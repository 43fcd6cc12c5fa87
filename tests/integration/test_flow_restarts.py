"""Flows once more: re-driven where they failed, and restarted from a step, also in parallel parts and flows within."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from shared import keys
from shared.doctor_runs import differences
from shared.errors import UserError
from shared.flow_nodes import StepNode
from shared.flow_restart import restart_run
from shared.flow_show import read_steps
from shared.history import show
from shared.scripts import operate
from shared.store import Store
from tests.support.eventually import eventually
from tests.support.factories import NOW_ISO, counters
from tests.support.flows import Tally, branch_all, deploy_flow, expr, loop, queue_flows, records, step
from tests.support.flows import flow_result as result
from tests.support.processes import HeadraceProcess
from tests.support.workers import states

RUN = "q2-api-1"


def test_a_step_that_has_failed_goes_on_when_the_run_is_re_driven(
    store: Store, start_worker: Callable[[], HeadraceProcess], tally: Tally
) -> None:
    """What had ended does not run again; the failure module does, if it fails once more; parts fail and are tried."""
    flaky = tally.source("f", f"if open({str(tally.file)!r}).read().count('f ') < 3:\n    raise OSError\nreturn given")
    flow = deploy_flow(
        store,
        [
            step("a"),
            loop("l", "[1, 2]", step("b"), value={"parallel": True}),
            loop("m", "[1]", step("f"), step("g")),
        ],
        {name: tally.source(name) for name in ("a", "b", "g", "failure")} | {"f": flaky},
        failure_module=step("failure"),
    )
    start_worker()
    queue_flows(store, flow, "q2-s-1-1")
    result(store, "q2-s-1-1", "failed")
    for _ in range(2):
        assert store.run(operate.retry("q2-s-1-1", NOW_ISO)) == "queued"
        eventually(lambda: states(store, "q2-s-1-1")[0] in {"failed", "succeeded"})

    assert states(store, "q2-s-1-1") == ["succeeded"]
    assert tally.executed() == ["a", "b", "b", "f", "failure", "f", "failure", "f", "g"]
    assert records(store, "q2-s-1-1")["m/0/f~2"].ok


def test_a_flow_is_restarted_from_a_step_as_a_new_run(
    store: Store, start_worker: Callable[[], HeadraceProcess], tally: Tally
) -> None:
    """It takes over what the steps before it had come to, with the same message, outside the books."""
    modules = [step("a", {"v": "flow_input.payload"}), step("b", {"v": "results.a.v"}), step("c", {"v": "results.b.v"})]
    flow = deploy_flow(store, modules, {name: tally.source(name) for name in "abc"})
    start_worker()
    queue_flows(store, flow, "q2-s-1-1", payload=b"x")
    result(store, "q2-s-1-1")
    books = counters(store)
    new_id = restart_run(store, "q2-s-1-1", "b", None)

    assert result(store, new_id) == {"v": "eA=="}
    assert tally.executed() == ["a", "b", "c", "b", "c"]
    assert counters(store) == books
    assert show(store, new_id).parent == "q2-s-1-1"
    with pytest.raises(UserError):
        restart_run(store, "q2-s-1-1", "x", None)


def test_a_flow_is_restarted_within_a_parallel_part_and_the_others_keep_what_they_came_to(
    store: Store, start_worker: Callable[[], HeadraceProcess], tally: Tally
) -> None:
    """As deep as it goes: an iteration in parallel, a branch in parallel, a flow within, a step of a loop in it."""
    inner = deploy_flow(
        store, [step("g", {"n": "flow_input.n"}), loop("m", "[1, 2]", step("h"), step("i", {"n": "results.g.n"}))],
        {name: tally.source(name) for name in "ghi"}, path="f/t/in",
    )  # fmt: skip
    within = {
        "id": "s",
        "value": {"type": "flow", "path": "f/t/in", "input_transforms": {"n": expr("flow_input.iter.value")}},
    }
    both = branch_all("q", [step("t")], [step("u"), within], value={"parallel": True})
    parts = loop("l", "[7, 8, 9]", step("b"), both, value={"parallel": True})
    names = {name: tally.source(name) for name in "abtuz"}
    flow = deploy_flow(store, [step("a"), parts, step("z", {"l": "results.l"})], names, flows={"s": inner})
    start_worker(), start_worker()
    queue_flows(store, flow, "q2-s-1-1")
    whole = result(store, "q2-s-1-1")
    assert whole["l"][1][1] == [{"n": 8}, {"n": 8}]
    done = len(tally.executed())
    new_id = restart_run(store, "q2-s-1-1", "l/1/q/1/s/m/1/i", None)

    assert result(store, new_id) == whole
    assert tally.executed()[done:] == ["i", "z"]
    assert "l/1/q/1/s/m/1/i" in {node.key for node in _all(read_steps(store, new_id, "succeeded"))}
    again = restart_run(store, new_id, "l/2", None)
    assert result(store, again) == whole
    assert sorted(tally.executed()[done + 2 :]) == sorted(["b", "t", "u", "g", "h", "i", "h", "i", "z"])
    with pytest.raises(UserError, match="was not executed in this run"):
        restart_run(store, new_id, "l/2/q", None)
    (part, *_) = store.command("ZRANGE", keys.children("q2-s-1-1"), 0, -1)
    with pytest.raises(UserError, match="is a part of the run of a flow, q2-s-1-1") as raised:
        restart_run(store, part.decode(), "b", None)
    assert raised.value.hint == "headrace runs restart q2-s-1-1 --step l/0"


def test_a_parallel_part_that_failed_goes_on_where_it_failed_when_the_run_is_re_driven(
    store: Store, start_worker: Callable[[], HeadraceProcess], tally: Tally
) -> None:
    """As a run of its own once more; what had ended in it, and in the parts within it, is not done again."""
    flaky = tally.source("f", f"if open({str(tally.file)!r}).read().count('f ') < 4:\n    raise OSError\nreturn given")
    both = {"parallel": True}
    parts = loop("l", "[1, 2]", step("a"), loop("m", "[1, 2]", step("b"), step("f"), value=both), value=both)
    flow = deploy_flow(store, [parts], {"a": tally.source("a"), "b": tally.source("b"), "f": flaky})
    start_worker()
    queue_flows(store, flow, "q2-s-1-1")
    result(store, "q2-s-1-1", "failed")
    assert store.run(operate.retry("q2-s-1-1", NOW_ISO)) == "queued"
    eventually(lambda: states(store, "q2-s-1-1") == ["succeeded"], timeout_s=20)

    executed = tally.executed()
    assert (executed.count("a"), executed.count("b")) == (2, 4)
    assert differences(store) == []


def _all(nodes: list[StepNode]) -> Iterator[StepNode]:
    for node in nodes:
        yield node
        yield from _all(node.steps)
