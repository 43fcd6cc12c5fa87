"""What a deployment would change."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from msgspec import structs

from shared.definitions import Broker, File, Script, Topic, Trigger, Variable, encode_definition, kind_of
from shared.deployment import Deployed
from shared.errors import WorkspaceError
from shared.workspace import Workspace
from shared.workspace.plan import Change, Current, Item, Plan, make_plan
from shared.workspace.references import Reference
from shared.workspace.triggers import TriggerFile
from shared.workspace.variables import VariableFile

BROKER = Broker("f/b", "mqtt.example", 1883)
SCRIPT = Script("f/s", "python3", "f/s.py", {"f/s.py": "def main(): ..."})
EMPTY = Current(Deployed(0, {}), "abc123", {}, {}, {})


def trigger_file(path: str = "f/t", timeout_s: int | None = None, **changes: Any) -> TriggerFile:
    """A trigger as its file describes it, with these fields changed."""
    fields: dict[str, Any] = {
        "path": path,
        "session": "",
        "client_id": "",
        "broker": "f/b",
        "runnable": "f/s",
        "runnables": {},
        "topics": [Topic("a", 1)],
    }
    return TriggerFile(f"{path}.mqtt_trigger.yaml", Trigger(**(fields | changes)), {"f/s": 1}, timeout_s, 1, 1)


def workspace(*triggers: TriggerFile, script: Script = SCRIPT, broker: Broker = BROKER) -> Workspace:
    """A folder of these triggers, a script and a broker."""
    return Workspace(list(triggers), {script.path: script}, {broker.path: broker}, [], [])


def plan(folder: Workspace, current: Current = EMPTY, *, prune: bool = False) -> Plan:
    """The plan, with sessions session1, session2 and so on."""
    numbers = count(1)
    return make_plan(folder, current, 300.0, lambda: f"session{next(numbers)}", prune=prune)


def applied(made: Plan, current: Current = EMPTY) -> Current:
    """What is deployed after a plan was applied."""
    from msgspec import json  # noqa: PLC0415 - only here

    versions = {**current.deployed.versions, **made.changed}
    for name in made.deleted:
        del versions[name]
    kinds = {"trigger": Trigger, "script": Script, "broker": Broker, "variable": Variable, "file": File}
    tables: dict[str, dict[str, Any]] = {
        "trigger": dict(current.triggers),
        "script": dict(current.scripts),
        "broker": dict(current.brokers),
        "variable": {},
        "file": {},
    }
    for name, version in made.changed.items():
        kind, _, path = name.partition(":")
        tables[kind][path] = json.decode(made.definitions[version], type=kinds[kind])
    for name in made.deleted:
        kind, _, path = name.partition(":")
        del tables[kind][path]
    deployed = Deployed(current.deployed.number + 1, versions)
    return Current(deployed, current.deployment_id, tables["trigger"], tables["script"], tables["broker"])


def test_a_first_push_creates_everything_and_chooses_identities() -> None:
    """A session, and a client id that says whose it is."""
    made = plan(workspace(trigger_file("f/iot/temp")))
    trigger = applied(made).triggers["f/iot/temp"]

    assert [(change.action, change.kind) for change in made.changes] == [
        ("created", "broker"),
        ("created", "script"),
        ("created", "trigger"),
    ]
    assert (trigger.session, trigger.client_id) == ("session1", "headrace-abc123-f-iot-temp")
    assert trigger.runnables["f/s"].version == encode_definition(SCRIPT)[0]


def test_pushing_the_same_again_changes_nothing() -> None:
    """Versions are hashes of the content."""
    folder = workspace(trigger_file())
    again = plan(folder, applied(plan(folder)))

    assert (again.changes, again.changed, again.definitions) == ([], {}, {})
    assert again.unchanged == [Item("broker", "f/b"), Item("script", "f/s"), Item("trigger", "f/t")]


def test_a_trigger_keeps_its_session_and_client_id_through_changes() -> None:
    """Whatever else its file says now; what differs is named."""
    current = applied(plan(workspace(trigger_file(client_id="mine"))))
    made = plan(workspace(trigger_file(topics=[Topic("b", 2)], keep_alive_s=5)), current)
    trigger = applied(made, current).triggers["f/t"]

    assert (trigger.session, trigger.client_id) == ("session1", "mine")
    assert made.changes == [Change("changed", "trigger", "f/t", ["topics", "keep_alive_s"])]


def test_a_changed_script_changes_the_triggers_that_run_it() -> None:
    """Because they name its version; a run records which one it was."""
    folder = workspace(trigger_file())
    script = Script("f/s", "python3", "f/s.py", {"f/s.py": "def main(x): ...", "f/lib.py": ""})
    made = plan(workspace(trigger_file(), script=script), applied(plan(folder)))

    assert made.changes == [
        Change("changed", "script", "f/s", ["f/lib.py", "f/s.py"]),
        Change("changed", "trigger", "f/t", ["f/s"]),
    ]


@pytest.mark.parametrize("of_trigger, of_script, expected", [(5, 60, 5), (None, 60, 60), (None, None, 300)])
def test_a_run_may_take_what_trigger_script_or_settings_say(
    of_trigger: int | None, of_script: int | None, expected: int
) -> None:
    """In this order."""
    script = Script("f/s", "python3", "f/s.py", {"f/s.py": ""}, timeout_s=of_script)
    made = plan(workspace(trigger_file(timeout_s=of_trigger), script=script))

    assert applied(made).triggers["f/t"].runnables["f/s"].timeout_s == expected


def test_what_is_not_in_the_folder_is_kept_unless_pruned() -> None:
    """Two folders may be deployed side by side."""
    current = applied(plan(workspace(trigger_file("f/old", topics=[Topic("x", 1)]))))
    folder = workspace(trigger_file("f/new"))

    assert plan(folder, current).kept == [Item("trigger", "f/old")]
    assert plan(folder, current).deleted == []
    assert plan(folder, current, prune=True).deleted == ["trigger:f/old"]
    assert plan(folder, current, prune=True).changes[-1] == Change("deleted", "trigger", "f/old")


def test_a_renamed_trigger_takes_its_session_along() -> None:
    """The broker's session goes on: nothing that waits there is lost."""
    current = applied(plan(workspace(trigger_file("f/old"))))
    made = plan(workspace(trigger_file("f/new")), current, prune=True)
    trigger = applied(made, current).triggers["f/new"]

    assert made.changes == [Change("renamed", "trigger", "f/new", was="f/old")]
    assert made.deleted == ["trigger:f/old"]
    assert (trigger.session, trigger.client_id) == ("session1", "headrace-abc123-f-old")


def test_a_rename_without_prune_is_warned_about() -> None:
    """Both would run for each message."""
    current = applied(plan(workspace(trigger_file("f/old"))))
    made = plan(workspace(trigger_file("f/new")), current)

    assert "each message runs for both" in made.warnings[0].message
    assert made.changes == [Change("created", "trigger", "f/new")]


def test_two_paths_that_give_one_client_id_get_two() -> None:
    """`a/b` and `a-b` look alike in a client id."""
    triggers = applied(plan(workspace(trigger_file("f/a/b"), trigger_file("f/a-b")))).triggers

    assert {trigger.client_id for trigger in triggers.values()} == {
        "headrace-abc123-f-a-b",
        "headrace-abc123-f-a-b-session2",
    }


def test_a_client_id_of_a_kept_trigger_on_the_same_broker_is_refused() -> None:
    """The two would end each other's session for ever."""
    current = applied(plan(workspace(trigger_file("f/old", client_id="mine"))))

    with pytest.raises(WorkspaceError, match="f/old, which is deployed and not in this folder"):
        plan(workspace(trigger_file("f/new", client_id="mine", topics=[Topic("b")])), current)


def test_another_client_id_is_warned_about() -> None:
    """What the broker keeps for the old one is fetched by nobody; at QoS 0 it keeps nothing."""
    current = applied(plan(workspace(trigger_file(client_id="old"))))
    (warning,) = plan(workspace(trigger_file(client_id="new")), current).warnings
    at_most_once = applied(plan(workspace(trigger_file(client_id="old", topics=[Topic("a", 0)]))))

    assert (warning.key, "'old'" in warning.message) == ("client_id", True)
    assert plan(workspace(trigger_file(client_id="new")), at_most_once).warnings == []


def test_a_reference_counts_what_is_kept_and_not_what_is_pruned() -> None:
    """`$var:` to what only another folder deploys."""
    reference = Reference("f/b.resource.yaml", 4, "value.x", "variable", "f/v")
    variables = [VariableFile("f/v.variable.yaml", Variable("f/v", "x"), 1, given=True)]
    current = applied(plan(structs.replace(workspace(), variables=variables)))
    folder = structs.replace(workspace(), references=[reference])

    assert plan(folder, current).kept == [Item("variable", "f/v")]
    with pytest.raises(WorkspaceError, match=r"f/b.resource.yaml:4: value.x: there is no variable f/v"):
        plan(folder, current, prune=True)


def test_a_file_that_another_one_replaces_goes_without_pruning() -> None:
    """f/s.py became f/s.ts: the definition is one, and so are its files."""
    current = applied(plan(structs.replace(workspace(), texts={"f/s.py": "", "f/s.script.yaml": "", "f/o.py": ""})))
    made = plan(structs.replace(workspace(), texts={"f/s.ts": ""}), current)

    assert made.deleted == ["file:f/s.py", "file:f/s.script.yaml"]
    assert made.kept == [Item("file", "f/o.py")]


def test_the_table_of_versions_names_what_was_encoded() -> None:
    """Each changed entry has its definition in the same plan."""
    made = plan(workspace(trigger_file()))

    assert set(made.changed.values()) == set(made.definitions)
    assert made.changed["script:f/s"] == encode_definition(SCRIPT)[0]
    assert kind_of(SCRIPT) == "script"
