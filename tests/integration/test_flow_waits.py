"""Flows that wait: they sleep, wait for retries and for their parallel parts, and no worker is held meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from shared import keys
from shared.again import Edits, run_again
from shared.doctor_runs import differences
from shared.errors import UserError
from shared.flow_records import STARTED
from shared.history import show
from shared.retry_policy import ConstantRetry, Retry
from shared.scripts import operate
from shared.scripts.worker import prune
from shared.store import Store
from tests.support.eventually import eventually
from tests.support.factories import NOW_ISO, NOW_MS, counters, run_fields
from tests.support.failing import HANDLER, deploy_script, deploy_trigger, queue
from tests.support.flows import Tally, branch_all, deploy_flow, loop, queue_flows, run_flow, static, step
from tests.support.flows import flow_result as result
from tests.support.processes import HeadraceProcess
from tests.support.workers import claims_left, last_attempt, states

RUN = "q2-api-1"


def test_a_flow_that_sleeps_holds_no_worker_and_stays_in_the_books(
    store: Store, start_worker: Callable[[], HeadraceProcess], tally: Tally
) -> None:
    """It is scheduled meanwhile, by RQ's own registry; its time comes; the sleep after the last step is none."""
    flow = deploy_flow(
        store,
        [step("a", sleep=static(3600)), step("b", sleep=static(3600))],
        {"a": tally.source("a"), "b": tally.source("b")},
    )
    runs = ("q2-s-1-1", "q1-s-1-2")
    queue_flows(store, flow, *runs)
    expires = f"{time.time() * 1000 + 60_000:.0f}"
    store.commands([("HSET", keys.job(run_id), "expires", expires) for run_id in runs])
    start_worker()
    eventually(lambda: states(store, *runs) == ["scheduled", "scheduled"])
    assert store.command("HEXISTS", keys.job(runs[0]), "expires") == 0, "what has begun does not expire"
    assert claims_left(store) == 0
    assert counters(store)["scheduled"] == 2
    assert differences(store) == []
    began = show(store, runs[0]).run.started_at
    for run_id in runs:
        store.command("ZADD", keys.RQ_SCHEDULED, "XX", 1, run_id)
    eventually(lambda: states(store, *runs) == ["succeeded", "succeeded"])
    assert sorted(tally.executed()) == ["a", "a", "b", "b"]
    assert set(tally.by_key().values()) == {1}
    assert [run_fields(store, run_id)["attempts"] for run_id in runs] == ["1", "1"]
    assert show(store, runs[0]).run.started_at == began, "it began once"
    assert differences(store) == []


@pytest.mark.parametrize("parallelism", [None, 2])
def test_a_parallel_loop_runs_its_iterations_as_runs_of_their_own(
    store: Store, start_worker: Callable[[], HeadraceProcess], tally: Tally, parallelism: int | None
) -> None:
    """At most so many at once; their results are in order; they know the flow; the run waits and is woken."""
    value = {"parallel": True} | ({} if parallelism is None else {"parallelism": static(parallelism)})
    flow = deploy_flow(
        store,
        [
            step("a", {"x": 1}),
            loop("l", "[1, 2, 3, 4, 5, 6, 7]", step("b", {"v": "flow_input.iter.value + results.a.x"}), value=value),
            step("c", {"all": "results.l.map((each) => each.v)"}),
        ],
        {"b": tally.source("b")},
    )
    start_worker(), start_worker()
    queue_flows(store, flow, "q2-s-1-1")

    assert result(store, "q2-s-1-1") == {"all": [2, 3, 4, 5, 6, 7, 8]}
    assert tally.executed() == ["b"] * 7
    children = store.command("ZRANGE", keys.children("q2-s-1-1"), 0, -1)
    assert len(children) == 7
    assert {states(store, child.decode())[0] for child in children} == {"succeeded"}
    assert counters(store) == {"received": 1, "admitted": 1, "placed": 1, "runs": 1, "succeeded": 1}
    assert differences(store) == []
    assert store.command("ZCARD", keys.RQ_SCHEDULED) == store.command("LLEN", keys.RQ_QUEUE) == claims_left(store) == 0


def test_flows_that_have_begun_go_before_those_that_have_not(
    store: Store, start_worker: Callable[[], HeadraceProcess], tally: Tally
) -> None:
    """Parallel parts and sleepers too: in a burst of messages flows end while others still wait for their turn."""
    modules = [
        step("a", sleep=static(0.01)),
        loop("l", "[1, 2]", step("b"), value={"parallel": True}),
        step("c"),
    ]
    flow = deploy_flow(store, modules, {name: tally.source(name) for name in "abc"})
    runs = [f"q2-s-1-{number}" for number in range(1, 301)]
    queue_flows(store, flow, *runs)
    start_worker()
    eventually(lambda: set(states(store, *runs)) == {"succeeded"}, timeout_s=60)

    executed = tally.executed()
    assert executed.count("c") == len(runs)
    last_begin = len(executed) - executed[::-1].index("a")
    assert executed[:last_begin].count("c") > len(runs) / 2


def test_parallel_branches_that_fail_fail_the_flow_once_all_have_ended(
    store: Store, start_worker: Callable[[], HeadraceProcess], tally: Tally
) -> None:
    """No dead letter of their own; where their failure may be skipped, their errors are results."""
    fails = "def main():\n    raise ValueError('no')\n"
    for number, skip in enumerate([True, False]):
        flow = deploy_flow(
            store,
            [
                branch_all("p", [step("a", {"x": 1})], [step("f")], skip_failure=skip, value={"parallel": True}),
                step("c", {"p": "results.p"}),
            ],
            {"f": fails, "a": tally.source("a")},
        )
        run_flow(store, flow, f"q2-api-{number}")
    start_worker()

    result(store, "q2-api-0")
    part, _ = store.command("ZRANGE", keys.children("q2-api-0"), 0, -1)
    with pytest.raises(UserError, match="is a part of the run of a flow, q2-api-0"):
        run_again(store, part.decode(), Edits(), None)
    first, second = result(store, "q2-api-0")["p"]
    assert (first, second["error"]["message"], second["error"]["step_id"]) == ({"x": 1}, "no", "f")
    result(store, "q2-api-1", "failed")
    assert last_attempt(store, "q2-api-1")["error"]["message"] == "no"
    assert store.command("ZRANGE", keys.DEAD, 0, -1) == [b"q2-api-1"]
    assert tally.executed() == ["a", "a"]


def test_cancelling_a_flow_cancels_all_that_belongs_to_it(
    store: Store, start_worker: Callable[[], HeadraceProcess], tally: Tally
) -> None:
    """The part that executes, those that wait, and itself, while it waits for them."""
    value = {"parallel": True, "parallelism": static(1)}
    flow = deploy_flow(store, [loop("l", "[1, 2, 3]", step("a"), value=value)], {"a": tally.held("a")})
    start_worker()
    queue_flows(store, flow, "q2-s-1-1")
    eventually(lambda: tally.is_held)
    store.run(operate.cancel("q2-s-1-1", NOW_ISO, NOW_MS, "test", "why not"))

    children = [child.decode() for child in store.command("ZRANGE", keys.children("q2-s-1-1"), 0, -1)]
    eventually(lambda: states(store, *children) == ["cancelled"] * 3)
    assert states(store, "q2-s-1-1") == ["cancelled"]
    assert tally.executed() == ["a"]
    assert counters(store)["cancelled"] == 1
    assert store.command("ZCARD", keys.RQ_SCHEDULED) == 0
    assert differences(store) == []


def test_cancelling_a_flow_ends_the_step_that_executes(
    store: Store, start_worker: Callable[[], HeadraceProcess], tally: Tally
) -> None:
    """And no step comes after it."""
    flow = deploy_flow(store, [step("a"), step("b")], {"a": tally.held("a"), "b": tally.source("b")})
    start_worker()
    queue_flows(store, flow, "q1-s-1-1")
    eventually(lambda: tally.is_held)
    store.run(operate.cancel("q1-s-1-1", NOW_ISO, NOW_MS, "test", "why not"))

    eventually(lambda: states(store, "q1-s-1-1") == ["cancelled"])
    assert tally.executed() == ["a"]
    assert differences(store) == []


def test_a_part_whose_record_somebody_has_deleted_counts_as_cancelled(
    store: Store, start_worker: Callable[[], HeadraceProcess]
) -> None:
    """The flow looks after its parts by itself, now and then."""
    value = {"parallel": True, "skip_failures": True}
    flow = deploy_flow(store, [loop("l", "[1, 2]", step("a", sleep=static(3600)), step("b"), value=value)])
    start_worker()
    run_flow(store, flow, RUN)
    children = eventually(lambda: [each.decode() for each in store.command("ZRANGE", keys.children(RUN), 0, -1)])
    eventually(lambda: states(store, *children) == ["scheduled"] * 2)
    store.commands([("DEL", keys.job(children[0])), ("ZREM", keys.RQ_SCHEDULED, children[0])])
    for run_id in (children[1], RUN):
        store.command("ZADD", keys.RQ_SCHEDULED, "XX", 1, run_id)

    found = result(store)
    assert (found[0]["error"]["name"], found[1]) == ("Cancelled", {})


def test_a_flow_may_take_as_long_as_its_trigger_says_waits_included_and_anew_when_it_is_re_driven(
    store: Store, start_worker: Callable[[], HeadraceProcess], tally: Tally
) -> None:
    """Its wait ends with its time, what comes after fails, and nothing that had ended runs again."""
    run_id = "q2-s-1-1"
    flow = deploy_flow(
        store, [step("a", sleep=static(3600)), step("b")], {name: tally.source(name) for name in ("a", "b")}
    )
    queue_flows(store, flow, run_id)  # for 60 s, as runs of a trigger that says so; the flow itself says nothing
    start_worker()
    eventually(lambda: states(store, run_id) == ["scheduled"])
    assert float(store.command("ZSCORE", keys.RQ_SCHEDULED, run_id)) <= time.time() + 61
    store.command("HSET", keys.flow(run_id), STARTED, 1)
    store.command("ZADD", keys.RQ_SCHEDULED, "XX", 1, run_id)
    result(store, run_id, "failed")
    assert last_attempt(store, run_id)["error"]["name"] == "TimeoutError"
    assert tally.executed() == ["a"]

    assert store.run(operate.retry(run_id, NOW_ISO)) == "queued"
    eventually(lambda: states(store, run_id) == ["succeeded"])
    assert tally.executed() == ["a", "b"]


def test_what_a_flow_has_recorded_is_forgotten_with_its_run(
    store: Store, start_worker: Callable[[], HeadraceProcess]
) -> None:
    """And its parts with it."""
    flow = deploy_flow(store, [loop("l", "[1, 2]", step("a"), value={"parallel": True})])
    start_worker()
    run_flow(store, flow, RUN)
    result(store)
    store.run(prune(keys.RQ_FINISHED, 0, 0, 100))

    left = [key for key in store.command("KEYS", "*") if b"api-1" in key]
    assert left == []


def test_a_flow_that_fails_is_tried_again_as_its_trigger_says_and_then_has_its_error_handler(
    store: Store, start_worker: Callable[[], HeadraceProcess], tally: Tally
) -> None:
    """It goes on with the step that failed; the handler is told which one it was."""
    fails = tally.source("f", "raise ValueError('no')")
    flow = deploy_flow(store, [step("a"), step("f")], {"a": tally.source("a"), "f": fails})
    handler = deploy_script(store, HANDLER, tally.source("handler", "return given['error'], given['is_flow']"))
    retry = Retry(ConstantRetry(attempts=1, seconds=1))
    queue(store, flow, deploy_trigger(store, flow, retry, handler), "q2-s-1-1", handled=True)
    start_worker()

    eventually(lambda: tally.executed() == ["a", "f", "f", "handler"])
    result(store, "q2-s-1-1", "failed")
    error, is_flow = result(store, "q2-s-1-1-eh")
    assert (error["step_id"], error["message"], is_flow) == ("f", "no", True)
    assert run_fields(store, "q2-s-1-1")["retries"] == "1"
    assert differences(store) == []


def test_a_failure_module_that_is_a_flow_may_have_parallel_parts(
    store: Store, start_worker: Callable[[], HeadraceProcess], tally: Tally
) -> None:
    """Also when the run is re-driven and fails once more."""
    parts = loop("l", "[1, 2]", step("p", {"n": "flow_input.iter.value"}), value={"parallel": True})
    told = deploy_flow(store, [parts], {"p": tally.source("p")}, path="f/t/told")
    fails = {"f": tally.source("f", "raise OSError")}
    failure = {"id": "failure", "value": {"type": "flow", "path": "f/t/told", "input_transforms": {}}}
    flow = deploy_flow(store, [step("f")], fails, flows={"failure": told}, failure_module=failure)
    start_worker()
    queue_flows(store, flow, "q2-s-1-1")
    result(store, "q2-s-1-1", "failed")
    assert sorted(tally.executed()) == ["f", "p", "p"]
    assert "the failure module failed" not in last_attempt(store, "q2-s-1-1")["error"]["message"]

    assert store.run(operate.retry("q2-s-1-1", NOW_ISO)) == "queued"
    eventually(lambda: sorted(tally.executed()) == ["f", "f", "p", "p", "p", "p"])
    result(store, "q2-s-1-1", "failed")
