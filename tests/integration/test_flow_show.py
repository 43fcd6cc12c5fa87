"""What is shown of a flow: its steps as a tree, with states, times, inputs, results and logs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shared.history import show
from shared.run_page import page
from shared.store import Store
from tests.support.command_line import CommandLine
from tests.support.eventually import eventually
from tests.support.flows import Tally, branch_one, deploy_flow, loop, run_flow, static, step
from tests.support.processes import HeadraceProcess
from tests.support.workers import FAST, states

RUN = "q2-api-1"


@pytest.fixture
def _worker(headrace: Callable[..., HeadraceProcess], redis_url: str) -> HeadraceProcess:
    """A worker that is ready."""
    return headrace("worker", REDIS_URL=redis_url, **FAST).wait_ready()


@pytest.mark.usefixtures("_worker")
def test_the_steps_of_a_flow_are_shown_as_a_tree(
    store: Store, redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With those of parallel parts, attempts, what was skipped, and what each has printed."""
    prints = "def main(**given):\n    print('hello', given['v'])\n    return given\n"
    flow = deploy_flow(
        store,
        [
            step("a", {"v": 1}),
            step("s", skip_if={"expr": "true"}),
            loop("l", "[7, 8]", step("b", {"v": "flow_input.iter.value"}), value={"parallel": True}),
            branch_one("o", {"true": [step("c", {"v": 2}, retry={"constant": {"attempts": 1}})]}),
        ],
        {"a": prints, "b": prints, "c": "def main(v):\n    raise ValueError('no')\n"},
    )
    run_flow(store, flow, RUN)
    eventually(lambda: states(store, RUN) == ["failed"])

    details = show(store, RUN)
    a, s, loop_node, o = details.steps
    assert (a.key, a.state, a.inputs, a.result, a.log) == ("a", "succeeded", {"v": 1}, {"v": 1}, "hello 1\n")
    assert (a.runnable, s.state) == ("f/t/flow/a", "skipped")
    assert [(part.key, part.state, [each.key for each in part.steps]) for part in loop_node.steps] == [
        ("l/0", "succeeded", ["l/0/b"]),
        ("l/1", "succeeded", ["l/1/b"]),
    ]
    assert loop_node.steps[1].steps[0].result == {"v": 8}
    assert [(each.key, each.state) for each in o.steps[0].steps] == [("o/0/c", "failed"), ("o/0/c~1", "failed")]
    shown = page(details)
    assert "c, attempt 2" in shown
    assert "| hello 7" in shown
    cli = CommandLine(redis_url, monkeypatch, capsys)
    assert "--- step l/1/b\nhello 8\n" in cli.text("runs", "logs", RUN)
    assert cli.json("runs", "show", RUN)["steps"][2]["steps"][1]["steps"][0]["key"] == "l/1/b"


@pytest.mark.usefixtures("_worker")
def test_a_flow_that_goes_on_shows_what_runs_and_what_is_still_to_come(store: Store, tmp_path: Path) -> None:
    """While a step executes, and while the flow sleeps."""
    tally = Tally(tmp_path)
    flow = deploy_flow(store, [step("a"), step("b", sleep=static(3600)), step("c")], {"a": tally.held("a")})
    run_flow(store, flow, RUN)
    eventually(lambda: tally.is_held)
    assert [(node.key, node.state) for node in show(store, RUN).steps] == [
        ("a", "running"),
        ("b", "waiting"),
        ("c", "waiting"),
    ]
    tally.open()
    eventually(lambda: states(store, RUN) == ["scheduled"])
    details = show(store, RUN)
    assert [node.state for node in details.steps] == ["succeeded", "succeeded", "waiting"]
    assert details.due_at is not None
    assert "to go on at" in page(details)
