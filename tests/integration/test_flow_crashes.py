"""Flows through the death of workers and runners, by QoS: what had ended never runs again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from shared import keys
from shared.definitions import Runnable
from shared.doctor_runs import differences
from shared.scripts import operate
from shared.store import Store
from tests.support.eventually import eventually
from tests.support.factories import NOW_ISO, counters
from tests.support.flows import Tally, deploy_flow, loop, queue_flows, records, static, step
from tests.support.processes import HeadraceProcess
from tests.support.workers import claims_left, last_attempt, states

StartWorker = Callable[[], HeadraceProcess]


def three_steps(store: Store, tally: Tally, **fields: Any) -> Runnable:
    """A flow whose second step waits, when it is executed for the first time."""
    sources = {"a": tally.source("a"), "b": tally.held("b"), "c": tally.source("c"), "failure": tally.source("failure")}
    modules = [step("a", {"x": 1}), step("b", {"x": "results.a.x + 1"}, **fields.pop("b", {})), step("c")]
    return deploy_flow(store, modules, sources, **fields)


def kill_while_held(worker: HeadraceProcess, tally: Tally) -> None:
    """Kill -9 the worker in the middle of a step; its runners die with it."""
    eventually(lambda: tally.is_held)
    runners = psutil.Process(worker.pid).children(recursive=True)
    worker.kill9()
    eventually(lambda: not any(runner.is_running() for runner in runners))


def ended(store: Store, run_id: str, state: str) -> None:
    """Wait for its end, which must be this."""
    eventually(lambda: states(store, run_id)[0] not in {"queued", "running", "scheduled"}, timeout_s=20)
    assert states(store, run_id) == [state], last_attempt(store, run_id)
    assert claims_left(store) == 0
    assert differences(store) == []


def test_at_qos_1_a_flow_goes_on_and_the_step_that_was_cut_off_runs_again(
    store: Store, start_worker: StartWorker, tally: Tally
) -> None:
    """With the same inputs; the steps before it do not."""
    queue_flows(store, three_steps(store, tally), "q1-s-1-1")
    kill_while_held(start_worker(), tally)
    start_worker()

    ended(store, "q1-s-1-1", "succeeded")
    assert tally.executed() == ["a", "b", "b", "c"]
    assert records(store, "q1-s-1-1")["b"].result == {"x": 2}
    assert counters(store) == {"received": 1, "admitted": 1, "placed": 1, "runs": 1, "succeeded": 1}


def test_at_qos_2_a_step_that_was_cut_off_interrupts_the_flow_and_is_re_driven_on_request(
    store: Store, start_worker: StartWorker, tally: Tally
) -> None:
    """Never on its own. Re-driven, the flow goes on there."""
    queue_flows(store, three_steps(store, tally), "q2-s-1-1")
    kill_while_held(start_worker(), tally)
    start_worker()

    ended(store, "q2-s-1-1", "interrupted")
    assert tally.executed() == ["a", "b"]
    assert store.command("ZRANGE", keys.DEAD, 0, -1) == [b"q2-s-1-1"]
    assert counters(store)["interrupted"] == 1
    error = last_attempt(store, "q2-s-1-1")["error"]
    assert (error["name"], error["step_id"]) == ("Interrupted", "b")
    assert store.run(operate.retry("q2-s-1-1", NOW_ISO)) == "queued"
    ended(store, "q2-s-1-1", "succeeded")
    assert tally.executed() == ["a", "b", "b", "c"]


def test_at_qos_2_the_flow_handles_an_interrupted_step_as_it_says(
    store: Store, start_worker: StartWorker, tally: Tally
) -> None:
    """Its retry policy, and its failure module, are the user's word that it may be done again."""
    queue_flows(store, three_steps(store, tally, b={"retry": {"constant": {"attempts": 1}}}), "q2-s-1-1")
    kill_while_held(start_worker(), tally)
    worker = start_worker()
    ended(store, "q2-s-1-1", "succeeded")
    assert tally.executed() == ["a", "b", "b", "c"]
    assert records(store, "q2-s-1-1")["b"].error == {
        "name": "Interrupted",
        "message": "the worker died while the step was executed: how far it got is not known",
    }
    assert worker.running


def test_at_qos_2_the_failure_module_is_told_of_an_interrupted_step(
    store: Store, start_worker: StartWorker, tally: Tally
) -> None:
    """The run is interrupted all the same."""
    queue_flows(store, three_steps(store, tally, failure_module=step("failure", {"e": "error.name"})), "q2-s-1-1")
    kill_while_held(start_worker(), tally)
    start_worker()
    ended(store, "q2-s-1-1", "interrupted")
    assert tally.executed() == ["a", "b", "failure"]
    assert records(store, "q2-s-1-1")["failure"].result == {"e": "Interrupted"}


def test_at_qos_0_a_flow_is_lost_with_its_worker(store: Store, start_worker: StartWorker, tally: Tally) -> None:
    """At most once."""
    queue_flows(store, three_steps(store, tally), "q0-s-1-1")
    kill_while_held(start_worker(), tally)
    start_worker()
    ended(store, "q0-s-1-1", "lost")
    assert tally.executed() == ["a", "b"]


@pytest.mark.parametrize("qos, state, steps", [(0, "lost", "ab"), (1, "succeeded", "abbc"), (2, "interrupted", "ab")])
def test_the_death_of_a_runner_is_the_end_of_its_step_alone(
    store: Store, start_worker: StartWorker, tally: Tally, qos: int, state: str, steps: str
) -> None:
    """The worker lives on, and goes on with the flow by itself."""
    run_id = f"q{qos}-s-1-1"
    queue_flows(store, three_steps(store, tally), run_id)
    worker = start_worker()
    eventually(lambda: tally.is_held)
    for child in psutil.Process(worker.pid).children():
        child.kill()

    ended(store, run_id, state)
    assert tally.executed() == list(steps)
    assert worker.running


def test_a_step_that_kills_its_runner_each_time_fails_and_is_handled_as_the_flow_says(
    store: Store, start_worker: StartWorker, tally: Tally
) -> None:
    """QoS 1: three starts, and then an error like any other."""
    deadly = "import os, signal\ndef main():\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    modules = [step("a", continue_on_error=True), step("b", {"e": "error.name"})]
    queue_flows(store, deploy_flow(store, modules, {"a": deadly, "b": tally.source("b")}), "q1-s-1-1")
    start_worker()
    ended(store, "q1-s-1-1", "succeeded")
    assert last_attempt(store, "q1-s-1-1")["result"] == {"e": "Crashed"}


def test_a_flow_whose_worker_dies_again_and_again_without_getting_further_ends(
    store: Store, start_worker: StartWorker, tally: Tally
) -> None:
    """The step has been begun three times; what the flow says of errors holds."""
    endless = tally.source("b", "while True:\n    time.sleep(0.01)")
    queue_flows(store, deploy_flow(store, [step("a"), step("b")], {"a": tally.source("a"), "b": endless}), "q1-s-1-1")
    for times in (1, 2, 3):
        worker = start_worker()
        eventually(lambda times=times: tally.executed().count("b") == times, timeout_s=20)  # type: ignore[misc]
        worker.kill9()
    start_worker()
    ended(store, "q1-s-1-1", "failed")
    assert tally.executed() == ["a", "b", "b", "b"]
    assert last_attempt(store, "q1-s-1-1")["error"]["name"] == "Crashed"


@pytest.mark.parametrize("qos, state, steps", [(1, "succeeded", "abbc"), (2, "interrupted", "ab")])
def test_a_worker_that_stood_still_changes_nothing_when_it_comes_back(
    store: Store, start_worker: StartWorker, tally: Tally, qos: int, state: str, steps: str
) -> None:
    """Another one has taken the flow over: every write of the first is refused."""
    run_id = f"q{qos}-s-1-1"
    queue_flows(store, three_steps(store, tally), run_id)
    sleeper = start_worker()
    eventually(lambda: tally.is_held)
    os.kill(sleeper.pid, signal.SIGSTOP)
    start_worker()
    ended(store, run_id, state)
    before = store.command("HGETALL", keys.flow(run_id))
    os.kill(sleeper.pid, signal.SIGCONT)
    tally.open()

    queue_flows(store, three_steps(store, tally), "q1-s-2-1")
    eventually(lambda: states(store, "q1-s-2-1") == ["succeeded"])
    assert sleeper.sigterm() == 0
    assert store.command("HGETALL", keys.flow(run_id)) == before
    assert states(store, run_id) == [state]
    assert [name for name in tally.executed() if name][: len(steps)] == list(steps)


def test_a_worker_that_is_told_to_stop_hands_its_flow_on_between_steps(
    store: Store, start_worker: StartWorker, tally: Tally
) -> None:
    """Nothing is cut off, and nothing runs twice."""
    queue_flows(store, three_steps(store, tally), "q2-s-1-1")
    worker = start_worker()
    eventually(lambda: tally.is_held)
    os.kill(worker.pid, signal.SIGTERM)
    eventually(lambda: "stopping" in worker.output)
    tally.open()
    assert worker.wait() == 0
    assert states(store, "q2-s-1-1") == ["scheduled"]
    start_worker()
    ended(store, "q2-s-1-1", "succeeded")
    assert tally.executed() == ["a", "b", "c"]


def test_a_part_of_a_flow_that_is_cut_off_is_handled_like_a_step(
    store: Store, start_worker: StartWorker, tally: Tally
) -> None:
    """QoS 2: interrupted, and so is the flow, unless it skips failures."""
    value = {"parallel": True, "skip_failures": True, "parallelism": static(1)}
    flow = deploy_flow(store, [loop("l", "[1, 2]", step("b"), value=value)], {"b": tally.held("b")})
    queue_flows(store, flow, "q2-s-1-1")
    kill_while_held(start_worker(), tally)
    start_worker()
    ended(store, "q2-s-1-1", "succeeded")
    first, second = last_attempt(store, "q2-s-1-1")["result"]
    assert (first["error"]["name"], second) == ("Interrupted", {})
    assert tally.executed() == ["b", "b"]
