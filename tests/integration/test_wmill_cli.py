"""Windmill's own command line from npm against a running pipeline: it deploys, looks, and runs scripts."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from shared.definitions import File, Script
from shared.deploy import read_all, read_now
from shared.store import Store
from tests.support.console import Console
from tests.support.eventually import eventually
from tests.support.processes import ROOT
from tests.support.windmill import push_files, token_of
from tests.support.windmill_plant import WindmillPlant
from tests.support.wmill_cli import Wmill

NOTHING_TO_PULL = "-> local: 0 changes to apply"
NOTHING_TO_PUSH = "<- local: 0 changes to apply"
SCRIPTS = {
    "adds": """
        def main(a: int, b: int = 1):
            print(f"adding {a} and {b}")
            return {"sum": a + b}
        """,
    "fails": """
        def main():
            raise ValueError("broken")
        """,
}
TRIGGER = """\
script_path: f/t/adds
is_flow: false
mqtt_resource_path: f/t/broker
subscribe_topics:
  - qos: qos1
    topic: plant/{site}/temp
payload: json
enabled: false
"""


def example(name: str, folder: Path) -> Path:
    """A copy of an example of ours."""
    return Path(shutil.copytree(ROOT / "examples" / name, folder / name))


def snapshot(folder: Path) -> dict[str, str]:
    """The text of every file."""
    return {str(file.relative_to(folder)): file.read_text() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_an_example_that_is_pushed_is_pulled_without_a_difference(
    store: Store, console: Console, tmp_path: Path
) -> None:
    """With the metadata that wmill makes of scripts, as it asks for before a push."""
    folder = example("hello", tmp_path)
    wmill = Wmill(folder, console.url, token_of(store, "deploy", "alice@plant.example"))

    wmill("generate-metadata", "--yes")
    assert "All 7 changes pushed" in wmill("sync", "push", "--yes", "--include-triggers")
    before = snapshot(folder)
    assert NOTHING_TO_PULL in wmill("sync", "pull", "--yes", "--include-triggers")
    assert NOTHING_TO_PUSH in wmill("sync", "push", "--yes", "--include-triggers")
    assert snapshot(folder) == before
    deployed = read_now(store)
    assert sorted(deployed.of_kind("trigger")) == ["f/demo/hello", "f/demo/temperature"]
    assert sorted(deployed.of_kind("script")) == ["f/demo/on_hello", "f/demo/on_temperature"]


def test_the_large_example_that_is_pushed_is_pulled_without_a_difference(
    store: Store, console: Console, tmp_path: Path
) -> None:
    """Variables, resources, types, flows, triggers with keys of ours, and what only a comment in the code says."""
    folder = example("plant", tmp_path)
    token = token_of(store, "deploy", "alice@plant.example")
    for path in ("f/plant/broker_password", "f/plant/siren_key"):
        secret = {"path": path, "value": "hunter2", "is_secret": True, "description": ""}
        assert console.request("POST", "/w/headrace/variables/create", token, json=secret).status_code == 201
    wmill = Wmill(folder, console.url, token)

    wmill("generate-metadata", "--yes")
    assert "changes pushed" in wmill("sync", "push", "--yes")
    before = snapshot(folder)
    assert NOTHING_TO_PULL in wmill("sync", "pull", "--yes")
    after = snapshot(folder)
    assert after == before
    assert NOTHING_TO_PUSH in wmill("sync", "push", "--yes", "--dry-run")
    scripts = read_all(store, read_now(store).of_kind("script"), Script)
    assert "httpx==" in scripts["f/plant/on_level"].lock
    alarm = scripts["f/plant/raise_alarm"]
    assert (alarm.isolation, alarm.memory_mib, alarm.output_bytes, alarm.timeout_s) == ("fresh", 512, 100_000, 30)
    assert "hunter2" not in "".join(after.values()) + console.process.output


def test_what_headrace_has_pushed_is_no_change_to_wmill_and_keeps_keys_of_ours(
    store: Store, console: Console, tmp_path: Path
) -> None:
    """Also when wmill then pushes another version of the script."""
    folder = tmp_path / "workspace"
    files = {
        "f/t/quiet.py": "def main(): return 1\n",
        "f/t/quiet.script.yaml": "summary: says little\nisolation: fresh\ntimeout: 30\n",
        "wmill.yaml": "includes: ['f/**']\nexcludes: []\nincludeTriggers: true\n",
    }
    push_files(store, console, folder, files)
    wmill = Wmill(folder, console.url, token_of(store, "deploy"))

    assert NOTHING_TO_PULL in wmill("sync", "pull", "--yes")
    (folder / "f/t/quiet.py").write_text("def main(): return 2\n")
    assert "changes pushed" in wmill("sync", "push", "--yes")
    script = read_all(store, read_now(store).of_kind("script"), Script)["f/t/quiet"]
    assert ("return 2" in script.modules[script.entry], script.isolation, script.timeout_s) == (True, "fresh", 30)
    assert NOTHING_TO_PULL in wmill("sync", "pull", "--yes")
    assert (folder / "f/t/quiet.script.yaml").read_text() == files["f/t/quiet.script.yaml"]


def test_a_folder_that_is_pulled_has_what_is_deployed(store: Store, console: Console, tmp_path: Path) -> None:
    """And what is deleted in the folder is deleted by a push."""
    files = {"f/t/adds.py": "def main(): ...\n", "f/t/limit.variable.yaml": "value: '30'\nis_secret: false\n"}
    push_files(store, console, tmp_path / "workspace", files)
    folder = tmp_path / "pulled"
    folder.mkdir()
    (folder / "wmill.yaml").write_text("includes: ['f/**']\nexcludes: []\nincludeTriggers: true\n")
    wmill = Wmill(folder, console.url, token_of(store, "deploy"))

    wmill("sync", "pull", "--yes")
    assert (folder / "f/t/adds.py").read_text() == files["f/t/adds.py"]
    assert "value: '30'" in (folder / "f/t/limit.variable.yaml").read_text()
    (folder / "f/t/limit.variable.yaml").unlink()
    wmill("sync", "push", "--yes")
    assert list(read_now(store).of_kind("variable")) == []


def test_a_trigger_its_script_and_its_broker_are_deleted_by_one_push(
    store: Store, console: Console, tmp_path: Path
) -> None:
    """What is named is deleted before what names it."""
    folder = example("hello", tmp_path)
    wmill = Wmill(folder, console.url, token_of(store, "deploy"))
    wmill("generate-metadata", "--yes")
    wmill("sync", "push", "--yes", "--include-triggers")

    for name in ("on_hello.py", "on_hello.script.yaml", "hello.mqtt_trigger.yaml"):
        (folder / "f/demo" / name).unlink()
    wmill("sync", "push", "--yes", "--include-triggers")
    assert list(read_now(store).of_kind("script")) == ["f/demo/on_temperature"]
    assert list(read_now(store).of_kind("trigger")) == ["f/demo/temperature"]
    shutil.rmtree(folder / "f")
    wmill("sync", "push", "--yes", "--include-triggers")
    assert read_now(store).versions == {}


def test_a_push_that_cannot_be_deployed_tells_the_errors_of_headrace(
    store: Store, console: Console, tmp_path: Path
) -> None:
    """With the exit status of a failure; what came before is deployed."""
    folder = tmp_path / "workspace"
    (folder / "f/t").mkdir(parents=True)
    (folder / "f/t/temp.mqtt_trigger.yaml").write_text(TRIGGER)
    wmill = Wmill(folder, console.url, token_of(store, "deploy"))

    said = wmill("sync", "push", "--yes", "--include-triggers", expect=1)
    assert "there is no script f/t/adds" in said
    refused = Wmill(folder, console.url, token_of(store, "read"))(
        "trigger", "push", "f/t/temp.mqtt_trigger.yaml", "f/t/temp", expect=1
    )
    assert "this needs the scope deploy" in refused


def test_triggers_are_listed_shown_and_pushed(plant: WindmillPlant, tmp_path: Path) -> None:
    """`wmill trigger`."""
    (tmp_path / "temp.mqtt_trigger.yaml").write_text(TRIGGER)
    wmill = Wmill(tmp_path, plant.url, plant.token)

    wmill("trigger", "push", "temp.mqtt_trigger.yaml", "f/t/temp")
    assert _json(wmill("trigger", "list", "--json")) == [{"path": "f/t/temp", "kind": "mqtt"}]
    shown = _json(wmill("trigger", "get", "f/t/temp", "--kind", "mqtt", "--json"))
    assert (shown["script_path"], shown["mode"], shown["payload"]) == ("f/t/adds", "disabled", "json")
    file = read_all(plant.store, read_now(plant.store).of_kind("file"), File)["f/t/temp.mqtt_trigger.yaml"]
    assert "enabled: false" in file.text
    (tmp_path / "temp.mqtt_trigger.yaml").write_text(TRIGGER.replace("enabled: false", "mode: suspended"))
    wmill("trigger", "push", "temp.mqtt_trigger.yaml", "f/t/temp")
    assert _json(wmill("trigger", "get", "f/t/temp", "--kind", "mqtt", "--json"))["mode"] == "suspended"


def test_a_script_is_run_and_followed(plant: WindmillPlant, tmp_path: Path) -> None:
    """Its log comes, then its result; then it stands in the list of jobs."""
    wmill = Wmill(tmp_path, plant.url, plant.token)

    said = wmill("script", "run", "f/t/adds", "-d", '{"a": 40, "b": 2}')
    assert "adding 40 and 2" in said
    assert re.search(r'"sum": ?42', said)
    (job,) = _json(wmill("job", "list", "--script-path", "f/t/adds", "--limit", "1", "--json"))
    assert (job["type"], job["success"]) == ("CompletedJob", True)
    assert _json(wmill("job", "result", job["id"])) == {"sum": 42}
    assert "adding 40 and 2" in wmill("job", "logs", job["id"])
    assert _json(wmill("job", "get", job["id"], "--json"))["id"] == job["id"]


def test_a_flow_with_a_loop_and_a_branch_is_run_and_followed(plant: WindmillPlant, tmp_path: Path) -> None:
    """Step by step to its end; then its log is there, and it is told as one that went well."""
    numbers = {"type": "javascript", "expr": "[10, 20]"}
    loop = {"type": "forloopflow", "iterator": numbers, "skip_failures": False}
    branch = {"expr": "results.a.sum == 3", "modules": [adds("e", "results.b[1].sum")]}
    modules = [
        adds("a", "flow_input.x"),
        {"id": "b", "value": loop | {"modules": [adds("c", "flow_input.iter.value")]}},
        {"id": "d", "value": {"type": "branchone", "branches": [branch], "default": []}},
    ]
    flow = {"path": "f/t/tank", "summary": "fills a tank", "value": {"modules": modules}}
    assert plant.request("POST", "/flows/create", json=flow).status_code == 201
    wmill = Wmill(tmp_path, plant.url, plant.token)

    said = wmill("flow", "run", "f/t/tank", "-d", '{"x": 2}')
    assert re.search(r'"sum": ?22', said)
    (job,) = _json(wmill("job", "list", "--script-path", "f/t/tank", "--limit", "1", "--json"))
    assert (job["type"], job["success"]) == ("CompletedJob", True)
    logs = wmill("job", "logs", job["id"])
    for line in ("adding 2 and 1", "adding 10 and 1", "adding 20 and 1", "adding 21 and 1"):
        assert line in logs
    shown = wmill("job", "get", job["id"])
    assert "✗" not in shown
    assert "▶" not in shown


def test_what_is_deployed_is_listed(plant: WindmillPlant, tmp_path: Path) -> None:
    """Every `list` of the tool: it counts pages from 0."""
    wmill = Wmill(tmp_path, plant.url, plant.token)

    lists = ("script", "flow", "resource", "resource-type", "variable", "folder")
    said = {name: wmill(name, "list") for name in lists}
    assert ("f/t/adds" in said["script"], "f/t/broker" in said["resource"]) == (True, True)


def test_a_job_that_fails_is_told_as_such(plant: WindmillPlant, tmp_path: Path) -> None:
    """In the list, and by its result."""
    wmill = Wmill(tmp_path, plant.url, plant.token)
    job_id = plant.start("f/t/fails")
    plant.completed(job_id)

    (job,) = _json(wmill("job", "list", "--failed", "--limit", "1", "--json"))
    assert job["id"] == job_id
    assert "broken" in wmill("job", "result", job_id)


def test_a_job_is_cancelled_and_run_again(plant: WindmillPlant, tmp_path: Path) -> None:
    """`wmill job cancel` and `rerun`."""
    wmill = Wmill(tmp_path, plant.url, plant.token)
    waiting = plant.start("f/t/adds", {"a": 1}, scheduled_in_secs=3600)

    wmill("job", "cancel", waiting, "--reason", "not today")
    job = eventually(lambda: (found := plant.job(waiting))["type"] == "CompletedJob" and found, 20)
    assert (job["canceled"], job["canceled_reason"]) == (True, "not today")


def adds(step: str, a: str) -> dict[str, Any]:
    """A step that adds to what an expression says."""
    inputs = {"a": {"type": "javascript", "expr": a}}
    return {"id": step, "value": {"type": "script", "path": "f/t/adds", "input_transforms": inputs}}


def _json(said: str) -> Any:
    """The JSON in what a command prints, which says other things beside it."""
    begins = re.search(r"^[\[{]", said, re.MULTILINE)
    assert begins is not None, said
    return json.JSONDecoder().raw_decode(said[begins.start() :])[0]
