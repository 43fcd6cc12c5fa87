"""The tree of a flow's steps: running, ended before its end, carried out in parts, recorded by an older release."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.flow_nodes import StepNode, abridged, all_nodes
from shared.flow_page import step_lines
from shared.flow_records import Begun, Ended, Entered, Left, encode
from shared.flow_tree import Definitions, Recorded, make_tree
from tests.support.flows import branch_all, branch_one, flow_of, loop, step

FLOW = flow_of(
    [
        step("a"),
        loop("l", "[7, 8]", step("x"), step("y")),
        branch_one("b", {"true": [step("c")]}, [step("d")]),
        {"id": "z", "value": {"type": "identity"}},
    ]
)
PART_WORDS = b'failed {"name":"Bad","message":"no"}'


def begun(at: int) -> bytes:
    """A step has begun."""
    return encode(Begun(at))


def ended(at: int, result: Any = None) -> bytes:
    """A step, or an expression, has come to this."""
    return encode(Ended(at, result=result))


def tree(fields: Mapping[str, bytes], state: str, runs: Mapping[str, str] | None = None) -> dict[str, StepNode]:
    """By key."""
    steps = make_tree(Recorded(fields, runs or {}, state), Definitions(FLOW))
    return {node.key: node for node in all_nodes(steps)}


def told(nodes: Mapping[str, StepNode]) -> dict[str, str]:
    """The states."""
    return {key: node.state for key, node in nodes.items()}


RUNNING = {
    "a>": begun(1), "a": ended(2, "r"), "l!entered": encode(Entered(2, items=[7, 8], count=2)), "l/0/x>": begun(3),
    "l/0/x": ended(4, 5), "l/0/y>": begun(5),
}  # fmt: skip


def test_what_a_flow_is_at_is_running_up_to_the_top_and_the_rest_waits() -> None:
    """So somebody who looks sees in which iteration of which loop it is."""
    nodes = tree(RUNNING, "running")
    assert told(nodes) == {
        "a": "succeeded", "l": "running", "l/0": "running", "l/0/x": "succeeded", "l/0/y": "running", "b": "waiting",
        "z": "waiting",
    }  # fmt: skip
    assert (nodes["l"].count, nodes["l/0"].value) == (2, 7)
    assert nodes["l"].started_at == "1970-01-01T00:00:00.002Z"
    assert (nodes["l"].ended_at, nodes["l"].result) == (None, None)


def test_what_was_not_at_its_end_when_the_run_ended_has_ended_as_the_run_has() -> None:
    """And the rest was not reached."""
    for state, shown in (("cancelled", "cancelled"), ("interrupted", "interrupted"), ("failed", "cut off")):
        nodes = tree(RUNNING, state)
        assert {nodes[key].state for key in ("l", "l/0", "l/0/y")} == {shown}
        assert {nodes[key].state for key in ("b", "z")} == {"not reached"}


def test_a_step_that_was_cut_off_at_qos_2_is_interrupted_and_so_is_what_is_around_it() -> None:
    """Its error says so."""
    error = {"name": "Interrupted", "message": "the worker died"}
    bad = {"l/0/y": encode(Ended(6, ok=False, error=error))}
    around = {f"{key}!ended": encode(Left(6, ok=False, error=error)) for key in ("l", "l/0")}
    nodes = tree({**RUNNING, **bad, **around}, "interrupted")
    assert {nodes[key].state for key in ("l", "l/0", "l/0/y")} == {"interrupted"}
    assert nodes["l"].error == error


def test_the_records_of_older_releases_tell_states_but_no_results_of_what_has_none_of_its_own() -> None:
    """By what stands within and after it."""
    old = {
        "a>": begun(1), "a": ended(2), "l/0/x>": begun(3), "l/0/x": ended(4), "l/0/y>": begun(4), "l/0/y": ended(5),
        "l/1/x>": begun(6), "l/1/x": ended(7), "l/1/y>": begun(7), "l/1/y": ended(8),
        "b?branch": encode(Ended(8, result=None)), "b/1/d>": begun(9), "b/1/d": ended(10),
    }  # fmt: skip
    nodes = tree(old, "succeeded")
    assert {key: state for key, state in told(nodes).items() if state != "succeeded"} == {"z": "not reached"}
    assert (nodes["l"].started_at, nodes["l"].ended_at) == ("1970-01-01T00:00:00.003Z", "1970-01-01T00:00:00.008Z")
    assert nodes["l"].result is None
    assert nodes["b/1"].kind == "default"
    running = tree(dict(list(old.items())[:5]), "running")
    assert (running["l"].state, running["l/0"].state, running["b"].state) == ("running", "running", "waiting")


def test_a_parallel_part_is_shown_as_its_newest_run_has_ended() -> None:
    """One that was carried out once more stands where it stood; what it had not begun is not reached."""
    flow = flow_of([branch_all("p", [step("x"), step("y")], [step("q")], value={"parallel": True})])
    fields = {
        "p!entered": encode(Entered(1)), "p/0": PART_WORDS, "p/1": b"succeeded ", "p#1/0": b"cancelled ",
        "p/0/x>": begun(2),
    }  # fmt: skip
    steps = make_tree(Recorded(fields, {"p/0": "q2-r-1", "p/1": "q2-r-2"}, "running"), Definitions(flow))
    nodes = {node.key: node for node in all_nodes(steps)}
    assert told(nodes) == {
        "p": "running", "p/0": "cancelled", "p/0/x": "cancelled", "p/0/y": "not reached", "p/1": "succeeded",
        "p/1/q": "not reached",
    }  # fmt: skip
    assert nodes["p/0"].run == "q2-r-1"


def test_a_flow_that_is_gone_is_shown_as_far_as_it_was_recorded() -> None:
    """Its definition may have been forgotten."""
    steps = make_tree(Recorded(RUNNING, {}, "running"), Definitions())
    assert [node.key for node in all_nodes(steps)] == ["a", "l", "l/0", "l/0/x", "l/0/y"]


def test_of_many_iterations_a_page_lists_the_first_the_last_and_those_that_did_not_succeed() -> None:
    """And says how many it does not."""
    bad = {500, 501}
    parts = [StepNode(key=f"l/{n}", kind="iteration", state="failed" if n in bad else "succeeded") for n in range(1000)]
    (node,) = abridged([StepNode(key="l", kind="forloopflow", state="failed", steps=parts)], 6)

    assert [each.key for each in node.steps] == ["l/0", "l/1", "l/500", "l/501", "l/998", "l/999"]
    assert node.left_out == {"succeeded": 994}
    assert step_lines([node])[-1].strip() == "… and 994 succeeded that are not listed; --json has all"
    few = [StepNode(key="l", steps=parts[:6])]
    assert abridged(few, 6) == few
