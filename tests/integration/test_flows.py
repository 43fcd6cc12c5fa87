"""Flows in a real worker: each kind of step, executed and recorded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared import keys
from shared.config import Settings
from shared.definitions import Variable
from shared.history import show
from shared.secrets import SecretBox
from shared.store import Store
from tests.support.console import deploy
from tests.support.factories import counters, run_fields
from tests.support.flows import (
    Tally,
    branch_all,
    branch_one,
    deploy_flow,
    loop,
    queue_flows,
    records,
    run_flow,
    step,
    transforms,
    while_loop,
)
from tests.support.flows import flow_result as result
from tests.support.ingest import deploy_all
from tests.support.processes import HeadraceProcess
from tests.support.workers import FAST, claims_left, last_attempt

RUN = "q2-api-1"


@pytest.fixture
def _worker(headrace: Callable[..., HeadraceProcess], redis_url: str) -> HeadraceProcess:
    """A worker that is ready."""
    return headrace("worker", REDIS_URL=redis_url, **FAST).wait_ready()


@pytest.mark.usefixtures("_worker")
def test_a_message_runs_the_steps_of_a_flow_one_after_the_other(store: Store) -> None:
    """Its payload is the flow's argument; each step sees what came before; the last result is the run's."""
    flow = deploy_flow(
        store,
        [
            step("a", {"text": "flow_input.payload"}),
            step("b", {"a": "results.a", "before": "previous_result.text"}),
            step("c", {"all": "Object.keys(results).join()", "b": "results.b.before.length"}),
        ],
    )
    queue_flows(store, flow, "q1-s-1-1", payload=b"21.5")

    assert result(store, "q1-s-1-1") == {"all": "a,b", "b": 8}
    found = records(store, "q1-s-1-1")
    assert found["b"].result == {"a": {"text": "MjEuNQ=="}, "before": "MjEuNQ=="}
    assert counters(store) == {"received": 1, "admitted": 1, "placed": 1, "runs": 1, "succeeded": 1}
    assert (run_fields(store, "q1-s-1-1")["attempts"], claims_left(store)) == ("1", 0)
    assert store.command("ZCARD", keys.RQ_STARTED) == 0


@pytest.mark.usefixtures("_worker")
def test_branches_and_loops_give_what_their_steps_give(store: Store) -> None:
    """One of several, all of them, for each item, until it is enough, and nothing at all."""
    flow = deploy_flow(
        store,
        [
            branch_one("one", {"flow_input.n > 9": [step("big")], "flow_input.n > 1": [step("some", {"n": 1})]}),
            branch_all("all", [step("x", {"v": "flow_input.n"})], [step("y", {"v": "results.x.v + 1"})]),
            loop("each", "[10, 20]", step("z", {"i": "flow_input.iter.index", "v": "flow_input.iter.value"})),
            while_loop(
                "until",
                step("w", {"i": "flow_input.iter.index"}, stop_after_if={"expr": "result.i == 2"}),
            ),
            loop("none", "[]", step("never")),
            {"id": "same", "value": {"type": "identity"}},
            step("end", {name: f"results.{name}" for name in ("one", "all", "each", "until", "none", "same")}),
        ],
    )
    run_flow(store, flow, RUN, {"n": 5})

    assert result(store) == {
        "one": {"n": 1},
        "all": [{"v": 5}, {"v": 6}],
        "each": [{"i": 0, "v": 10}, {"i": 1, "v": 20}],
        "until": [{"i": 0}, {"i": 1}, {"i": 2}],
        "none": [],
        "same": [],
    }


@pytest.mark.usefixtures("_worker")
def test_a_flow_within_a_flow_has_its_own_arguments_and_results(store: Store) -> None:
    """It stops for itself, and its result is that of the step."""
    inner = deploy_flow(
        store,
        [step("a", {"x": "flow_input.x", "env": "flow_env.unit"}, stop_after_if={"expr": "true"}), step("never")],
        path="f/t/inner",
        flow_env={"unit": "mm"},
    )
    modules = [
        step("a", {"x": 1}),
        {
            "id": "s",
            "value": {"type": "flow", "path": "f/t/inner", "input_transforms": transforms({"x": "results.a.x + 1"})},
        },
        step("b", {"inner": "results.s", "own": "results.a"}),
    ]
    run_flow(store, deploy_flow(store, modules, flows={"s": inner}), RUN)

    assert result(store) == {"inner": {"x": 2, "env": "mm"}, "own": {"x": 1}}
    assert "s/a" in records(store, RUN)


@pytest.mark.usefixtures("_worker")
def test_a_step_that_fails_is_tried_again_and_the_flow_goes_on_as_it_says(store: Store, tally: Tally) -> None:
    """Retries with the same inputs, at once or later; then `continue_on_error`; iterations may fail."""
    fails = tally.source("f", "raise ValueError(given['v'])")
    flaky = tally.source("t", f"if open({str(tally.file)!r}).read().count('t ') < 3:\n    raise OSError\nreturn given")
    flow = deploy_flow(
        store,
        [
            step("t", {"r": "Math.random()"}, retry={"constant": {"attempts": 3, "seconds": 1}}),
            step("f", {"v": 1}, retry={"constant": {"attempts": 2, "seconds": 0}}, continue_on_error=True),
            step("g", {"error": "error.message", "same": "previous_result.error.step_id"}),
            loop("l", "[1, 2]", step("h", {"v": "flow_input.iter.value"}), value={"skip_failures": True}),
            step("end", {"g": "results.g", "l": "results.l.map((each) => each.error.message)"}),
        ],
        {"t": flaky, "f": fails, "h": fails},
    )
    run_flow(store, flow, RUN)

    assert result(store) == {"g": {"error": "1", "same": "f"}, "l": ["1", "2"]}
    assert tally.executed() == ["t"] * 3 + ["f"] * 5
    found = records(store, RUN)
    assert found["t~2"].result is not None
    assert (found["f~2"].ok, found["f~2?retry"].result) == (False, None)
    assert run_fields(store, RUN)["attempts"] == "1"


@pytest.mark.usefixtures("_worker")
def test_the_failure_module_is_called_once_and_the_run_has_failed(store: Store, tally: Tally) -> None:
    """Unless it says that all is well again."""
    for number, (recovers, state) in enumerate([(False, "failed"), (True, "succeeded")]):
        flow = deploy_flow(
            store,
            [step("a", {"x": 1}), loop("l", "[1]", step("f", retry={"constant": {"attempts": 1}}))],
            {"f": "def main():\n    raise ValueError('no')\n", "failure": tally.source("failure")},
            failure_module=step("failure", {"error": "error", "a": "results.a", "recover": recovers}),
        )
        run_flow(store, flow, f"q2-api-{number}")
        found = result(store, f"q2-api-{number}", state)
        assert (found["a"], found["error"]["name"], found["error"]["step_id"]) == ({"x": 1}, "ValueError", "f")
    assert tally.executed() == ["failure"] * 2
    assert last_attempt(store, "q2-api-0")["error"]["message"] == "no"
    assert last_attempt(store, "q2-api-0")["error"]["step_id"] == "f"


@pytest.mark.usefixtures("_worker")
def test_expressions_that_fail_say_where_and_why(store: Store) -> None:
    """Step, field, expression, and what the engine says of it."""
    flow = deploy_flow(store, [step("a"), step("b", skip_if={"expr": "results.a.x.y > 1"})])
    run_flow(store, flow, RUN)

    result(store, RUN, "failed")
    error = last_attempt(store, RUN)["error"]
    assert error["name"] == "ExpressionError"
    assert error["message"].startswith("step b, skip_if: expression results.a.x.y > 1: TypeError")


@pytest.mark.usefixtures("_worker")
def test_a_flow_stops_early_where_a_step_says_so(store: Store, tally: Tally) -> None:
    """Well, or with an error of its own."""
    stops = {"expr": "result.x == 1", "skip_if_stopped": True}
    fails = {"expr": "true", "error_message": "too cold", "error_include_result": True}
    sources = {"failure": tally.source("failure"), "never": tally.source("never")}
    for run_id, stop in (("q2-api-1", stops), ("q2-api-2", fails)):
        modules = [step("a", {"x": 1}, stop_after_if=stop), step("never")]
        run_flow(store, deploy_flow(store, modules, sources, failure_module=step("failure")), run_id)

    assert result(store, "q2-api-1") == {"x": 1}
    assert show(store, "q2-api-1").attempts[-1].skipped
    result(store, "q2-api-2", "failed")
    assert last_attempt(store, "q2-api-2")["error"]["name"] == "EarlyStopError"
    assert tally.executed() == ["failure"], "of the one that stops with an error"


@pytest.mark.usefixtures("_worker")
def test_a_preprocessor_makes_the_arguments_of_a_flow_from_the_event(store: Store) -> None:
    """Windmill's event, and what it returns in its place."""
    sources = {
        "preprocessor": "def preprocessor(event):\n    return [event['topic'], event['payload'], event['qos']]\n"
    }
    flow = deploy_flow(store, [step("a", {"v": "flow_input.value"})], sources, preprocessor_module=step("preprocessor"))
    queue_flows(store, flow, "q1-s-1-1", payload=b"x")

    assert result(store, "q1-s-1-1") == {"v": ["demo/hello", "eA==", 1]}


@pytest.mark.usefixtures("_worker")
def test_a_step_knows_where_it_is(store: Store) -> None:
    """Environment, context, labels; a time-out of its own; a mock and a skipped step run no code."""
    names = "WM_FLOW_JOB_ID", "WM_ROOT_FLOW_JOB_ID", "WM_FLOW_PATH", "WM_FLOW_STEP_ID", "WM_STATE_PATH", "WM_JOB_ID"
    source = f"""
        import os, time, headrace
        def main():
            print("hello")
            found = {{name: os.environ[name] for name in {names!r}}}
            return found | {{"key": headrace.run.idempotency_key, "wm_labels": ["hot"]}}
        """
    slow = "import time\ndef main():\n    time.sleep(60)\n"
    flow = deploy_flow(
        store,
        [
            step("m", mock={"enabled": True, "return_value": 7}),
            step("s", skip_if={"expr": "previous_result == 7"}),
            step("t", timeout={"type": "javascript", "expr": "results.s / 14"}, continue_on_error=True),
            loop("l", "[1]", step("a")),
        ],
        {"a": source, "t": slow, "m": "1/0", "s": "1/0"},
    )
    run_flow(store, flow, RUN)

    assert result(store) == [
        {
            "WM_FLOW_JOB_ID": RUN,
            "WM_ROOT_FLOW_JOB_ID": RUN,
            "WM_FLOW_PATH": "f/t/flow",
            "WM_FLOW_STEP_ID": "a",
            "WM_STATE_PATH": "f/t/flow/l.a/user",
            "WM_JOB_ID": RUN,
            "key": "api-1/l/0/a",
            "wm_labels": ["hot"],
        }
    ]
    found = records(store, RUN)
    assert (found["l/0/a"].log, found["l/0/a"].labels) == ("hello\n", ["hot"])
    assert found["t"].error is not None
    assert found["t"].error["name"] == "TimeoutError"


@pytest.mark.usefixtures("_worker")
def test_what_a_step_publishes_goes_out_with_the_record_of_its_end(store: Store) -> None:
    """Once, whatever becomes of the flow; a step that fails publishes nothing."""
    says = "import headrace\ndef main():\n    headrace.publish('a/b', 'x', broker='f/t/broker')\n"
    flow = deploy_flow(
        store, [step("a"), loop("l", "[1, 2]", step("b")), step("c")], {"a": says, "b": says, "c": f"{says}    1/0\n"}
    )
    run_flow(store, flow, RUN)

    result(store, RUN, "failed")
    sent = store.command("XRANGE", keys.outbox("f/t/broker"), "-", "+")
    assert len(sent) == 3
    assert counters(store, "?") == {"said": 3, "outbox": 3}


@pytest.mark.usefixtures("_worker")
def test_steps_share_a_folder_where_the_flow_wants_it(store: Store) -> None:
    """Nobody else's, and it is gone with the flow."""
    writes = (
        "import os\ndef main():\n    open('./shared/x', 'w').write('hello')\n    return os.path.realpath('./shared')\n"
    )
    reads = "import os\ndef main():\n    return os.path.exists('./shared') and open('./shared/x').read()\n"
    modules = [step("a"), step("b"), step("c", {"folder": "results.a", "said": "results.b"})]
    flow = deploy_flow(store, modules, {"a": writes, "b": reads}, same_worker=True)
    run_flow(store, flow, RUN)
    run_flow(store, deploy_flow(store, [step("b")], {"b": reads}), "q2-api-2")

    found = result(store)
    assert (found["said"], Path(found["folder"]).exists()) == ("hello", False)
    assert result(store, "q2-api-2") is False


@pytest.mark.usefixtures("_worker")
def test_references_in_static_inputs_are_put_in_place_and_not_kept(store: Store) -> None:
    """What came with a message is left as it is."""
    deploy(store, Variable("f/t/limit", "30"))
    inputs = {"limit": "$var:f/t/limit", "other": "flow_input.text"}
    module = step("a", {"other": inputs["other"]})
    module["value"]["input_transforms"]["limit"] = {"type": "static", "value": inputs["limit"]}
    flow = deploy_flow(store, [module])
    queue_flows(store, flow, "q1-s-1-1")
    assert result(store, "q1-s-1-1") == {"limit": "30", "other": None}
    (node,) = show(store, "q1-s-1-1").steps
    assert node.inputs == {"limit": "$var:f/t/limit", "other": None}


@pytest.mark.usefixtures("_worker")
def test_references_in_the_inputs_of_a_flow_within_a_flow_are_put_in_place(store: Store) -> None:
    """Its steps are given what they come to; what is not there is an error of the step."""
    deploy(store, Variable("f/t/limit", "30"))
    inner = deploy_flow(store, [step("a", {"x": "flow_input.limit"})], path="f/t/inner")
    value = {"type": "flow", "path": "f/t/inner"}
    there = {"limit": {"type": "static", "value": "$var:f/t/limit"}}
    gone = {"limit": {"type": "static", "value": "$var:f/t/gone"}}
    modules: list[dict[str, Any]] = [
        {"id": "s", "value": {**value, "input_transforms": there}},
        {"id": "g", "value": {**value, "input_transforms": gone}, "continue_on_error": True},
        step("b", {"found": "results.s.x", "why": "results.g.error"}),
    ]
    run_flow(store, deploy_flow(store, modules, flows={"s": inner, "g": inner}), RUN)

    found = result(store)
    assert found["found"] == "30"
    assert "f/t/gone" in found["why"]["message"]
    assert found["why"]["step_id"] == "g"


def test_a_secret_that_a_flow_within_a_flow_is_given_is_not_kept(
    store: Store, headrace: Callable[..., HeadraceProcess], redis_url: str
) -> None:
    """Its steps work with it; parallel parts are refused it, with what to do instead."""
    key, secret = {"HEADRACE_SECRET_KEY": "0123456789abcdef0123456789abcdef"}, "correct horse"
    sealed = SecretBox.load(Settings(), create=False, env=key).seal("f/t/password", secret)
    deploy_all(store, Variable("f/t/password", sealed, is_secret=True))
    headrace("worker", REDIS_URL=redis_url, **FAST, **key).wait_ready()
    length = "def main(x):\n    return len(x)\n"
    plain = deploy_flow(store, [step("a", {"x": "flow_input.password"})], {"a": length}, path="f/t/plain")
    parts = loop("l", "[1, 2]", step("a", {"x": "flow_input.password"}), value={"parallel": True})
    parallel = deploy_flow(store, [parts], {"a": length}, path="f/t/parallel")
    inputs = {"password": {"type": "static", "value": "$var:f/t/password"}}
    modules: list[dict[str, Any]] = [
        {"id": "s", "value": {"type": "flow", "path": "f/t/plain", "input_transforms": inputs}},
        {"id": "p", "value": {"type": "flow", "path": "f/t/parallel", "input_transforms": inputs}},
    ]
    for each in modules:
        each["continue_on_error"] = True
    modules.append(step("b", {"length": "results.s", "why": "results.p.error"}))
    run_flow(store, deploy_flow(store, modules, flows={"s": plain, "p": parallel}), RUN)

    found = result(store)
    assert found["length"] == len(secret)
    assert (found["why"]["name"], "$var:PATH" in found["why"]["message"]) == ("SecretError", True)
    kept = store.command("HGETALL", keys.flow(RUN))
    assert not [name for name, value in kept.items() if secret.encode() in value]
