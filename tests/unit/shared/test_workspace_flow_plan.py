"""What a deployment of flows would change, and the versions that flows and triggers are deployed with."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from msgspec import json

from shared.definitions import FLOW_TIMEOUT_S, KINDS, Flow, Runnable, Script
from shared.deployment import Deployed
from shared.errors import WorkspaceError
from shared.workspace.plan import Current, Plan, make_plan
from tests.support.flow_files import workspace_of

MAIN = "def main(x=None):\n    return x\n"
BROKER = "resource_type: mqtt\nvalue: {broker: localhost, port: 1883}\n"
TRIGGER = """\
script_path: f/a/outer
is_flow: true
mqtt_resource_path: f/a/broker
subscribe_topics: [{topic: t, qos: qos1}]
"""
OUTER = """\
value:
  preprocessor_module: {value: {type: script, path: f/a/pre}}
  modules:
    - {id: a, value: {type: script, path: f/a/s}}
    - {id: b, value: {type: flow, path: f/a/inner}}
    - {id: c, value: {type: rawscript, language: python3, content: '!inline c.py'}}
    - {id: d, value: {type: rawscript, language: python3, content: "def main():\\n    return 1\\n"}}
  failure_module: {value: {type: script, path: f/a/s}}
"""
INNER = "timeout: 60\nvalue: {modules: [{id: a, value: {type: script, path: f/a/s}}]}\n"
FOLDER = {
    "f/a/broker.resource.yaml": BROKER,
    "f/a/t.mqtt_trigger.yaml": TRIGGER,
    "f/a/outer.flow/flow.yaml": OUTER,
    "f/a/outer.flow/c.py": "from f.a.lib import y\n" + MAIN,
    "f/a/inner__flow/flow.yaml": INNER,
    "f/a/s.py": MAIN,
    "f/a/lib.py": "y = 1\n",
    "f/a/pre.py": "def preprocessor(event):\n    return {}\n",
}
EMPTY = Current(Deployed(0, {}), "abc123", {}, {}, {})


def plan(texts: dict[str, str], current: Current = EMPTY, *, prune: bool = False) -> Plan:
    """The plan that makes these files current."""
    numbers = count(1)
    return make_plan(workspace_of(texts), current, 300.0, lambda: f"session{next(numbers)}", prune=prune)


def applied(made: Plan, current: Current = EMPTY) -> Current:
    """What is deployed after a plan was applied."""
    versions = {**current.deployed.versions, **made.changed}
    for name in made.deleted:
        del versions[name]
    kinds: dict[str, Any] = {kind: record for record, kind in KINDS.items()}
    tables: dict[str, dict[str, Any]] = {
        kind: {each.path: each for each in getattr(current, f"{kind}s").values()}
        for kind in kinds
        if kind not in {"file", "broker"}
    } | {"broker": dict(current.brokers), "file": {}}
    for name, version in made.changed.items():
        kind, _, path = name.partition(":")
        tables[kind][path] = json.decode(made.definitions[version], type=kinds[kind])
    for name in made.deleted:
        kind, _, path = name.partition(":")
        tables[kind].pop(path, None)
    tables.pop("file")
    fields: dict[str, Any] = {f"{kind}s": table for kind, table in tables.items()}
    return Current(Deployed(current.deployed.number + 1, versions), current.deployment_id, **fields)  # fmt: skip


def flow(made: Plan, path: str) -> Flow:
    """A flow as this plan deploys it."""
    return json.decode(made.definitions[made.changed[f"flow:{path}"]], type=Flow)


def script(made: Plan, runnable: Runnable) -> Script:
    """The record that a step names."""
    return json.decode(made.definitions[runnable.version], type=Script)


def test_a_flow_names_the_versions_of_all_that_it_runs() -> None:
    """Its own code, scripts, flows within it; the preprocessor and the failure module too."""
    made = plan(FOLDER)
    outer = flow(made, "f/a/outer")

    assert set(outer.runnables) == {"preprocessor", "a", "b", "c", "d", "failure"}
    assert outer.runnables["a"] == outer.runnables["failure"] == Runnable("f/a/s", made.changed["script:f/a/s"], 300)
    assert outer.runnables["b"] == Runnable("f/a/inner", made.changed["flow:f/a/inner"], 60, is_flow=True)
    assert script(made, outer.runnables["c"]).modules.keys() == {"f/a/outer.flow/c.py", "f/a/lib.py"}
    assert script(made, outer.runnables["d"]).path == "f/a/outer/d"
    assert script(made, outer.runnables["preprocessor"]).function == "preprocessor"


def test_the_code_of_a_flow_is_deployed_under_no_name() -> None:
    """The plan tells of the flow alone, and of no file that it consists of."""
    made = plan(FOLDER)

    assert sorted(f"{each.kind} {each.path}" for each in made.changes) == [
        "broker f/a/broker", "flow f/a/inner", "flow f/a/outer", "script f/a/s", "trigger f/a/t",
    ]  # fmt: skip
    assert not any(name.startswith(("script:f/a/outer", "script:f/a/pre")) for name in made.changed)


def test_a_trigger_runs_a_flow_in_its_version() -> None:
    """A flow that says nothing of it may take long: it may wait between its steps."""
    made = plan(FOLDER)
    trigger = applied(made).triggers["f/a/t"]

    assert trigger.runnables == {
        "f/a/outer": Runnable("f/a/outer", made.changed["flow:f/a/outer"], FLOW_TIMEOUT_S, is_flow=True)
    }


def test_a_changed_script_changes_the_flows_that_use_it_and_the_triggers_that_run_them() -> None:
    """The plan says by what."""
    current = applied(plan(FOLDER))
    made = plan(FOLDER | {"f/a/s.py": MAIN + "\n"}, current)

    assert [(each.kind, each.path, each.details) for each in made.changes] == [
        ("script", "f/a/s", ["f/a/s.py"]),
        ("flow", "f/a/outer", ["f/a/s", "f/a/inner"]),
        ("flow", "f/a/inner", ["f/a/s"]),
        ("trigger", "f/a/t", ["f/a/outer"]),
    ]


@pytest.mark.parametrize(
    "file, old, new, details",
    [
        ("f/a/outer.flow/c.py", "return x", "return 2", ["step c"]),
        ("f/a/lib.py", "1", "2", ["step c"]),
        ("f/a/outer.flow/flow.yaml", "return 1", "return 2", ["step d"]),
        ("f/a/outer.flow/flow.yaml", "id: b,", "id: e,", ["step e", "step b"]),
        ("f/a/outer.flow/flow.yaml", "value:\n", "timeout: 5\nvalue:\n", ["timeout_s"]),
        ("f/a/outer.flow/flow.yaml", "value:\n", "value:\n  same_worker: true\n", ["value"]),
    ],
)
def test_a_changed_flow_names_the_steps_that_differ(file: str, old: str, new: str, details: list[str]) -> None:
    """Also where only a module that a step imports has changed."""
    made = plan(FOLDER | {file: FOLDER[file].replace(old, new)}, applied(plan(FOLDER)))

    assert [each.details for each in made.changes if each.path == "f/a/outer"] == [details]


def test_pushing_the_same_flows_again_changes_nothing() -> None:
    """Versions follow from content."""
    made = plan(FOLDER, applied(plan(FOLDER)))

    assert (made.changes, made.definitions) == ([], {})


def test_a_flow_may_use_what_is_deployed_and_not_in_the_folder() -> None:
    """In the version that is deployed, unless that is deleted by the same push."""
    current = applied(plan(FOLDER))
    alone = {"f/a/other.flow/flow.yaml": INNER.replace("script, path: f/a/s", "flow, path: f/a/outer")}
    made = plan(alone, current)

    assert flow(made, "f/a/other").runnables["a"].version == current.deployed.versions["flow:f/a/outer"]
    with pytest.raises(WorkspaceError, match="there is no flow f/a/outer, neither in the folder nor deployed"):
        plan(alone, current, prune=True)


def test_what_a_flow_names_and_is_nowhere_is_an_error() -> None:
    """With the step, and the nearest name."""
    texts = FOLDER | {"f/a/outer.flow/flow.yaml": OUTER.replace("path: f/a/inner", "path: f/a/iner")}
    with pytest.raises(WorkspaceError, match=r"flow.yaml:5: step b.value.path: there is no flow f/a/iner") as error:
        plan(texts)

    assert "did you mean f/a/inner?" in str(error.value)


def test_flows_that_lead_back_to_themselves_are_refused() -> None:
    """A version cannot name itself."""
    texts = FOLDER | {"f/a/inner__flow/flow.yaml": INNER.replace("script, path: f/a/s", "flow, path: f/a/outer")}
    with pytest.raises(WorkspaceError, match="leads back to itself: f/a/outer → f/a/inner → f/a/outer"):
        plan(texts)


def test_an_error_handler_may_be_a_flow() -> None:
    """Of a trigger, and of the workspace."""
    own = TRIGGER + "error_handler_path: flow/f/a/inner\n"
    for texts in ({"f/a/t.mqtt_trigger.yaml": own}, {"headrace.yaml": "error_handler: flow/f/a/inner\n"}):
        made = plan(FOLDER | texts)
        trigger = applied(made).triggers["f/a/t"]
        handler = trigger.handler_of("f/a/outer")

        assert handler is not None
        assert trigger.runnables[handler.path].is_flow


def test_a_flow_may_be_left_out_of_the_workspaces_error_handler() -> None:
    """`ws_error_handler_muted`, as of a script."""
    texts = {
        "headrace.yaml": "error_handler: f/a/s\n",
        "f/a/outer.flow/flow.yaml": "ws_error_handler_muted: true\n" + OUTER,
    }
    trigger = applied(plan(FOLDER | texts)).triggers["f/a/t"]

    assert trigger.handler_of("f/a/outer") is None


def test_a_deleted_flow_goes_with_all_that_is_its_own() -> None:
    """Nothing of it had a name of its own."""
    texts = {path: text for path, text in FOLDER.items() if "outer" not in path and "trigger" not in path}
    made = plan(texts, applied(plan(FOLDER)), prune=True)

    assert [each.path for each in made.changes if each.action == "deleted" and each.kind == "flow"] == ["f/a/outer"]
    assert not any(name.startswith("script:f/a/outer") for name in made.deleted)
