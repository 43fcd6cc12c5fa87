"""Steps of a flow's run, told in Windmill's words."""

from __future__ import annotations

from console.windmill.flow_status import find_step, flow_status
from shared.flow_nodes import StepNode

STEPS = [
    StepNode(key="preprocessor", state="succeeded"),
    StepNode(key="a", state="failed"),
    StepNode(key="a~1", state="succeeded", result=1),
    StepNode(key="b", state="skipped"),
    StepNode(
        key="l",
        state="running",
        steps=[
            StepNode(key="l/0", state="succeeded", run="q2-part-0", steps=[StepNode(key="l/0/x", state="succeeded")]),
            StepNode(key="l/1", state="running", run="q2-part-1"),
        ],
    ),
    StepNode(key="d", state="waiting"),
]


def test_each_step_is_told_once_by_its_newest_attempt() -> None:
    """Iterations as the jobs of the step, those that are runs of their own by their ids."""
    status = flow_status(STEPS, "q2-flow")
    types = [(module["id"], module["type"]) for module in status["modules"]]
    assert types == [("a", "Success"), ("b", "Success"), ("l", "InProgress"), ("d", "WaitingForPriorSteps")]
    assert status["step"] == 2
    assert status["modules"][1]["skipped"] is True
    loop = status["modules"][2]
    assert (loop["flow_jobs"], loop["flow_jobs_success"]) == (["q2-part-0", "q2-part-1"], [True])
    assert "job" not in status["modules"][3]


def test_what_windmills_client_asks_for_is_always_there() -> None:
    """Its model of a status has a failure module, whatever the flow has."""
    assert flow_status([], "q2-flow")["failure_module"] == {"type": "WaitingForPriorSteps", "id": "failure"}
    status = flow_status([*STEPS, StepNode(key="failure", state="succeeded")], "q2-flow")
    assert status["failure_module"]["type"] == "Success"
    assert status["preprocessor_module"]["id"] == "preprocessor"
    assert all(module["id"] not in {"failure", "preprocessor"} for module in status["modules"])


def test_a_step_is_found_wherever_it_stands() -> None:
    """By its id."""
    found, inner = find_step(STEPS, "a"), find_step(STEPS, "x")
    assert found is not None
    assert inner is not None
    assert (found.key, inner.key, find_step(STEPS, "z")) == ("a~1", "l/0/x", None)
