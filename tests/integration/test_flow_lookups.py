"""Expressions of flows that look up variables and resources: what they have read stays, and secrets stay secret."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shared import keys
from shared.config import Settings
from shared.definitions import Resource, Variable
from shared.history import show
from shared.secrets import SecretBox
from shared.store import Store
from tests.support.eventually import eventually
from tests.support.flows import Tally, branch_one, deploy_flow, loop, run_flow, static, step
from tests.support.ingest import deploy_all
from tests.support.processes import HeadraceProcess
from tests.support.workers import FAST, last_attempt, states

KEY = {"HEADRACE_SECRET_KEY": "0123456789abcdef0123456789abcdef"}
SECRET = "correct horse"
RUN = "q1-api-1"


@pytest.fixture
def store(redis_url: str, headrace: Callable[..., HeadraceProcess]) -> Store:
    """A store, and a worker on it."""
    headrace("worker", REDIS_URL=redis_url, **FAST, **KEY).wait_ready()
    return Store.connect(redis_url)


def secret(text: str) -> Variable:
    """A secret variable with this value."""
    sealed = SecretBox.load(Settings(), create=False, env=KEY).seal("f/t/secret", text)
    return Variable("f/t/secret", sealed, is_secret=True)


def ended(store: Store, state: str, run_id: str = RUN) -> None:
    """Wait for its end, which must be this."""
    eventually(lambda: states(store, run_id)[0] not in {"queued", "running", "scheduled"}, timeout_s=20)
    assert states(store, run_id) == [state], last_attempt(store, run_id)


def go_on_from_sleep(store: Store) -> None:
    """The run sleeps: wake it."""
    eventually(lambda: states(store, RUN) == ["scheduled"])
    store.command("ZADD", keys.RQ_SCHEDULED, "XX", 1, RUN)


def test_what_an_expression_has_read_stays_when_the_variable_changes_while_the_flow_waits(
    store: Store, tally: Tally
) -> None:
    """Which branch was taken, how often a loop goes round, what a flow within was given; what comes later is new."""
    inner = deploy_flow(store, [step("i", {"x": "flow_input.x"})], {"i": tally.source("i")}, path="f/t/in")
    within = {"x": {"type": "javascript", "expr": "resource('f/t/db').limit"}}
    modules = [
        branch_one("o", {"variable('f/t/list') == '[1,2]'": [step("a")]}, [step("b")]),
        loop("l", "JSON.parse(await variable('f/t/list'))", step("c", sleep=static(3600)), step("d")),
        {"id": "s", "value": {"type": "flow", "path": "f/t/in", "input_transforms": within}},
        step("e", {"l": "results.l.length", "list": "variable('f/t/' + 'list')", "s": "results.s"}),
    ]
    sources = {name: tally.source(name) for name in "abcd"}
    db = Resource("f/t/db", "any", {"limit": "$var:f/t/list"})
    deploy_all(store, Variable("f/t/list", "[1,2]"), db)
    run_flow(store, deploy_flow(store, modules, sources, flows={"s": inner}), RUN)
    eventually(lambda: states(store, RUN) == ["scheduled"])
    deploy_all(store, Variable("f/t/list", "[7]"))
    for count in (1, 2):
        go_on_from_sleep(store)
        eventually(lambda count=count: tally.executed().count("d") == count)  # type: ignore[misc]

    ended(store, "succeeded")
    assert tally.executed() == ["a", "c", "d", "c", "d", "i"]
    assert last_attempt(store, RUN)["result"] == {"l": 2, "list": "[7]", "s": {"x": "[7]"}}


def test_a_secret_that_an_expression_has_read_is_kept_sealed_and_masked_and_stays_what_it_was(
    store: Store, tally: Tally
) -> None:
    """In inputs, logs, results and errors; in a list that a loop goes through too; attempts have the same inputs."""
    reads = "variable('f/t/secret')"
    body = step("a", {"x": "flow_input.iter.value"}, sleep=static(3600))
    first = f"open({str(tally.file)!r}).read().count('f ') < 2"
    fails = f"print(given['x'])\nif {first}:\n    raise ValueError(given['x'])\nreturn len(given['x'])"
    modules = [
        loop("l", f"[{reads}, {reads}]", body),
        step("f", {"x": reads}, retry={"constant": {"attempts": 1, "seconds": 3600}}),
        step("e", {"x": f"(() => {{ throw new Error({reads}) }})()"}, continue_on_error=True),
        loop("p", f"[{reads}, 1]", step("z"), value={"parallel": True}, continue_on_error=True),
        step("g", {"l": "results.l", "f": "results.f", "e": "results.e", "p": "results.p.error.name", "x": reads}),
    ]
    sources = {
        "a": tally.source("a", "return len(given['x'])"),
        "f": tally.source("f", fails),
    }
    deploy_all(store, secret(SECRET))
    run_flow(store, deploy_flow(store, modules, sources), RUN)
    eventually(lambda: states(store, RUN) == ["scheduled"])
    deploy_all(store, secret("another one"))
    go_on_from_sleep(store)
    eventually(lambda: tally.executed() == ["a", "a"])
    go_on_from_sleep(store)
    eventually(lambda: "f" in tally.executed())
    eventually(lambda: states(store, RUN) == ["scheduled"])
    deploy_all(store, secret("yet another one"))
    go_on_from_sleep(store)

    ended(store, "succeeded")
    found = last_attempt(store, RUN)["result"]
    assert (found["l"], found["f"], found["p"], found["x"]) == ([13, 13], 11, "SecretError", "***")
    assert "***" in found["e"]["error"]["message"]
    shown = repr(store.command("HGETALL", keys.flow(RUN))) + repr(show(store, RUN))
    assert "***" in shown
    for text in (SECRET, "another one"):
        assert text not in shown


def test_what_is_not_there_is_an_error_of_the_step_that_an_expression_may_catch(store: Store) -> None:
    """It says which path."""
    modules = [
        step("a", {"x": "variable('f/t/gone')"}, continue_on_error=True),
        step("b", {"x": "try { return variable('f/t/gone') } catch (e) { return 'none' }", "why": "error"}),
    ]
    run_flow(store, deploy_flow(store, modules), RUN)
    ended(store, "succeeded")
    found = last_attempt(store, RUN)["result"]
    assert found["x"] == "none"
    assert found["why"]["step_id"] == "a"
    assert "there is no variable f/t/gone" in found["why"]["message"]
