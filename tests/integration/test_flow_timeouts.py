"""Time-outs of loops, branches and flows within flows: they cover all that stands in them, and survive crashes."""

from __future__ import annotations

from collections.abc import Callable

import psutil

from shared import keys
from shared.doctor_runs import differences
from shared.flow_records import Ended, encode
from shared.scripts import operate
from shared.store import Store
from tests.support.eventually import eventually
from tests.support.factories import NOW_ISO
from tests.support.flows import Tally, branch_all, deploy_flow, loop, queue_flows, records, static, step
from tests.support.processes import HeadraceProcess
from tests.support.workers import claims_left, last_attempt, states

StartWorker = Callable[[], HeadraceProcess]
RUN = "q1-s-1-1"


def ended(store: Store, state: str, run_id: str = RUN) -> None:
    """Wait for its end, which must be this."""
    eventually(lambda: states(store, run_id)[0] not in {"queued", "running", "scheduled"}, timeout_s=20)
    assert states(store, run_id) == [state], last_attempt(store, run_id)
    eventually(lambda: claims_left(store) == 0)
    assert differences(store) == []


def parts(store: Store, run_id: str = RUN) -> list[str]:
    """The runs of its parts."""
    return [each.decode() for each in store.command("ZRANGE", keys.children(run_id), 0, -1)]


def test_the_time_out_of_a_loop_survives_the_worker_and_counts_anew_when_the_run_is_re_driven(
    store: Store, start_worker: StartWorker, tally: Tally
) -> None:
    """What was cut off is not begun once more when the time is over; re-driven, the loop goes on where it was."""
    body = [step("a"), step("b", retry={"constant": {"attempts": 5}}, continue_on_error=True)]
    flow = deploy_flow(
        store,
        [loop("l", "[1, 2]", *body, timeout=static(3600), value={"skip_failures": True}), step("c")],
        {"a": tally.source("a"), "b": tally.held("b"), "c": tally.source("c")},
    )
    queue_flows(store, flow, RUN)
    worker = start_worker()
    eventually(lambda: tally.is_held)
    seconds, until_ms = records(store, RUN)["l?timeout"].result
    assert seconds == 3600
    runners = psutil.Process(worker.pid).children(recursive=True)
    worker.kill9()
    eventually(lambda: not any(runner.is_running() for runner in runners))
    over = Ended(1, result=[seconds, until_ms - 3_600_000])
    store.command("HSET", keys.flow(RUN), "l?timeout", encode(over))
    start_worker()

    ended(store, "failed")
    assert tally.executed() == ["a", "b"]
    error = last_attempt(store, RUN)["error"]
    assert (error["name"], error["step_id"]) == ("TimeoutError", "l")
    assert error["message"] == "step l has taken longer than its time-out of 3600 s"
    assert store.run(operate.retry(RUN, NOW_ISO)) == "queued"
    ended(store, "succeeded")
    assert tally.executed() == ["a", "b", "b", "a", "b", "c"]


def test_what_is_executed_when_the_time_of_a_loop_is_over_is_ended_and_the_retry_of_the_loop_has_as_long_again(
    store: Store, start_worker: StartWorker, tally: Tally
) -> None:
    """Its own handling of failures, and that of what stands in it, is not asked."""
    body = step("b", retry={"constant": {"attempts": 5}})
    failing = loop("l", "[1]", body, timeout=static(1), retry={"constant": {"attempts": 1}})
    flow = deploy_flow(store, [failing], {"b": tally.held("b")})
    queue_flows(store, flow, RUN)
    start_worker()

    ended(store, "succeeded")
    assert tally.executed() == ["b", "b"]
    found = records(store, RUN)
    assert (found["l/0/b"].limit, found["l~1/0/b"].ok) == ("l", True)


def test_parallel_iterations_are_cancelled_when_the_time_of_their_loop_is_over(
    store: Store, start_worker: StartWorker, tally: Tally
) -> None:
    """The one that executes and those that wait; what has ended keeps its result; re-driven, only the others run."""
    value = {"parallel": True, "parallelism": static(1), "skip_failures": True}
    held = f"while given['n'] > 0 and not os.path.exists({str(tally.gate)!r}):\n    time.sleep(0.01)\nreturn given['n']"
    inner = step("b", {"n": "flow_input.iter.value"})
    flow = deploy_flow(
        store, [loop("l", "[0, 1, 2, 3]", inner, timeout=static(3600), value=value)], {"b": tally.source("b", held)}
    )
    queue_flows(store, flow, RUN)
    start_worker(), start_worker()
    eventually(lambda: tally.executed() == ["b", "b"])
    over = Ended(1, result=[3600, 1])
    store.command("HSET", keys.flow(RUN), "l?timeout", encode(over))
    store.command("ZADD", keys.RQ_SCHEDULED, "XX", 1, RUN)

    ended(store, "failed")
    error = last_attempt(store, RUN)["error"]
    assert error["message"] == "step l has taken longer than its time-out of 3600 s"
    assert parts(store)
    eventually(lambda: states(store, *parts(store)) == ["succeeded", "cancelled", "cancelled", "cancelled"])
    said = store.command("HMGET", keys.job(parts(store)[1]), "cancelled_by", "cancel_reason")
    assert said == [b"flow", error["message"].encode()]
    assert store.command("ZCARD", keys.RQ_SCHEDULED) == 0
    tally.open()
    assert store.run(operate.retry(RUN, NOW_ISO)) == "queued"
    ended(store, "succeeded")
    assert last_attempt(store, RUN)["result"] == [0, 1, 2, 3]
    assert len(tally.executed()) == 5
    assert store.command("LLEN", keys.RQ_QUEUE) == 0


def test_parallel_branches_end_by_themselves_when_nobody_is_free_to_cancel_them(
    store: Store, start_worker: StartWorker, tally: Tally
) -> None:
    """One worker: the branch knows the time of the step around it, and what is over for it is over for the flow."""
    branches = branch_all(
        "p", [step("a")], [step("b")], skip_failure=True, value={"parallel": True}, timeout=static(1),
        continue_on_error=True,
    )  # fmt: skip
    sources = {"a": tally.source("a", "time.sleep(3600)"), "b": tally.source("b", "time.sleep(3600)")}
    flow = deploy_flow(store, [branches, step("c", {"e": "error.message"})], sources)
    queue_flows(store, flow, RUN)
    start_worker()

    ended(store, "succeeded")
    assert last_attempt(store, RUN)["result"] == {"e": "step p has taken longer than its time-out of 1 s"}


def test_a_flow_that_waits_within_a_time_out_wakes_when_it_is_over(
    store: Store, start_worker: StartWorker, tally: Tally
) -> None:
    """And no worker is held meanwhile."""
    inner = deploy_flow(store, [step("a", sleep=static(3600)), step("b")], {"a": tally.source("a")}, path="f/t/in")
    module = {
        "id": "s",
        "value": {"type": "flow", "path": "f/t/in", "input_transforms": {}},
        "timeout": static(1),
        "continue_on_error": True,
    }
    flow = deploy_flow(store, [module, step("c", {"e": "error.message"})], flows={"s": inner})
    queue_flows(store, flow, RUN)
    start_worker()

    ended(store, "succeeded")
    assert last_attempt(store, RUN)["result"] == {"e": "step s has taken longer than its time-out of 1 s"}
    assert tally.executed() == ["a"]
