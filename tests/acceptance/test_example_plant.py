"""The example workspace, deployed and tried as its README says, through every process of the pipeline."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.deploy import read_current
from shared.store import Store
from tests.support.burst import Publisher
from tests.support.eventually import eventually
from tests.support.listener import Listener
from tests.support.mosquitto import Mosquitto
from tests.support.pages import blocks, section
from tests.support.pipeline import COMMAND_TIMEOUT_S, Pipeline
from tests.support.ports import free_port
from tests.support.processes import ROOT, headrace_env
from tests.support.terminal import Terminal, lines_of
from tests.support.valkey import ValkeyServer
from tests.support.wheels import PackageFolder

README = ROOT / "examples/plant/README.md"
AT = "2026-01-02T03:04:05Z"
SHIM = f"""\
#!/bin/sh
exec {sys.executable} -c 'import sys; from shared.cli import main; sys.exit(main())' "$@"
"""


class Plant:
    """The example's pipeline, and a client of its broker."""

    def __init__(self, folder: Path, valkey: ValkeyServer, broker: Mosquitto) -> None:
        self.folder = folder
        self.example = folder / "examples/plant"
        self.store = Store.connect(valkey.url)
        packages = PackageFolder(folder / "packages")
        packages.add_installed("iniconfig", "wmill")
        port = str(free_port())
        env = {"HEADRACE_BROKER": broker.url, "HEADRACE_CONSOLE__PORT": port} | packages.environment
        self.pipeline = Pipeline(folder, valkey.url, **env)
        self.port = broker.port
        self.client = Publisher(broker.port)

    def follow(self, heading: str) -> str:
        """Type the commands under a heading of the README; what the last one printed."""
        programs = self.folder / "bin"
        env = headrace_env(self.pipeline.env)
        env["PATH"] = f"{programs}:{env['PATH']}"
        said = ""
        with Terminal(self.folder, env) as terminal:
            for block in blocks(section(README, heading)):
                for line in lines_of(block.text):
                    typed = terminal.enter(line, COMMAND_TIMEOUT_S)
                    assert typed.status == 0, f"{line}\n{typed.output}"
                    said = typed.output
        return said

    def publish(self, topic: str, *payloads: Any, qos: int = 1) -> None:
        """Publish each as JSON, a text as it is."""
        self.client.publish(topic, [each if isinstance(each, str) else json.dumps(each) for each in payloads], qos)

    def ended(self, *options: str, count: int = 1) -> list[dict[str, Any]]:
        """All that is recorded of the runs that the options ask for, newest first, once so many have ended well."""

        def look() -> list[str]:
            runs = self.pipeline.runs(*options)
            return [run["id"] for run in runs] if [run["state"] for run in runs] == ["succeeded"] * count else []

        found = eventually(look, 40, 0.3)
        return [json.loads(self.pipeline.headrace("runs", "show", run, "--json")) for run in found]

    def results(self, *options: str, count: int = 1) -> list[Any]:
        """The results of these runs, newest first."""
        return [run["result"] for run in self.ended(*options, count=count)]

    def counters(self, trigger: str) -> dict[str, int]:
        """Of a trigger, as they are now."""
        counted: dict[str, int] = self.pipeline.status()["counters"]["triggers"][trigger]
        return counted

    def close(self) -> None:
        """End everything."""
        self.client.close()
        self.pipeline.close()
        self.store.close()


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """All processes, with the example deployed as its README says."""
    folder = tmp_path_factory.mktemp("plant")
    example = folder / "examples/plant"
    shutil.copytree(README.parent, example)
    (folder / "bin").mkdir()
    (folder / "bin/headrace").write_text(SHIM)
    (folder / "bin/headrace").chmod(0o755)
    with ValkeyServer(folder / "valkey") as valkey, Mosquitto(folder / "mosquitto") as broker:
        resource = example / "f/plant/broker.resource.yaml"
        resource.write_text(resource.read_text().replace("11883", str(broker.start().port)))
        plant = Plant(folder, valkey.start(), broker)
        try:
            assert "nothing to do: deployment 1" in plant.follow("Deploy it")
            plant.pipeline.start("ingest", "dispatch", "worker-1", "worker-2", "console")
            names = ("level", "test_stand", "temperature", "events", "machines", "gateway")
            plant.pipeline.wait_connected(*[f"f/plant/{name}" for name in names])
            plant.pipeline.processes["console"].wait_ready()
            yield plant
        finally:
            plant.close()


def test_the_folder_without_its_secrets_is_what_is_deployed(plant: Plant) -> None:
    """The resource type is kept, the schedule is skipped, and so are tests; limits and lock are those of the files."""
    report = json.loads(plant.pipeline.headrace("push", str(plant.example), "--json"))
    current = read_current(plant.store, create_id=False)
    alarm, gateway, level = (current.scripts[f"f/plant/{name}"] for name in ("raise_alarm", "on_gateway", "on_level"))

    assert (report["changes"], report["applied"]) == ([], False)
    assert "f/plant/nightly.schedule.yaml" in report["skipped"]
    assert set(current.deployed.of_kind("flow")) == {"f/plant/overheated"}
    assert "f/plant/overheated.test.yaml" not in [*report["skipped"], *current.deployed.of_kind("file")]
    assert {"siren.resource-type.yaml", "f/plant/folder.meta.yaml"} <= set(current.deployed.of_kind("file"))
    assert (alarm.isolation, alarm.memory_mib, alarm.timeout_s, alarm.output_bytes) == ("fresh", 512, 30, 100_000)
    assert gateway.lock == (plant.example / "f/plant/on_gateway.script.lock").read_text().strip()
    assert "wmill==" in level.lock


def test_a_full_tank_raises_an_alarm(plant: Plant) -> None:
    """Preprocessor, captures, a variable and an awaited child, in a process of its own; its log has no secret."""
    with Listener(plant.port, "siren/#") as siren:
        plant.publish("plant/east/t1/level", {"value": 9.5, "unit": "hl", "at": AT}, qos=2)
        eventually(lambda: siren.messages, 40)
    rings = [(ring.topic, json.loads(ring.payload)) for ring in siren.messages]
    assert rings == [("siren/east/t1", {"since": "2026-01-02T03:04:05+00:00"})]

    (run,) = plant.ended("--topic", "plant/east/+/level")
    (child,) = [each for each in plant.ended("--runnable", "f/plant/raise_alarm") if each["parent"] == run["id"]]
    raised = "east/t1 is full since 03:04"
    assert run["result"] == {"tank": "east/t1", "litres": 950.0, "count": run["result"]["count"], "alarm": raised}
    assert (child["origin"], child["result"]) == ("child", raised)
    assert child["log"] == "ringing http://siren.plant.example/ring with the key ***\n"
    kept = [" ".join(runner.cmdline()) for runner in plant.pipeline.runners()]
    assert any("f/plant/on_level.py" in command for command in kept)
    assert not any("f/plant/raise_alarm.py" in command for command in kept)


def test_levels_are_counted_for_each_trigger(plant: Plant) -> None:
    """Two triggers of one script: each has a state of its own."""
    level = {"value": 5, "at": AT}
    plant.publish("plant/west/t1/level", level, qos=2)
    (first,) = plant.results("--topic", "plant/west/+/level")
    plant.publish("stand/west/t1/level", level)
    plant.ended("--topic", "stand/west/+/level")
    plant.publish("plant/west/t1/level", level, qos=2)

    second, _ = plant.results("--topic", "plant/west/+/level", count=2)
    assert second["count"] == first["count"] + 1


def test_only_alarms_run_and_each_of_them_once(plant: Plant) -> None:
    """Two are filtered, one is a repetition."""
    alarm = {"kind": "alarm", "number": 7, "device": {"id": "d1", "tags": ["outdoor", "steel"]}}
    before = plant.counters("f/plant/events")
    plant.publish("plant/west/events", alarm, alarm | {"kind": "info"}, alarm, alarm | {"device": {"tags": []}})

    assert plant.results("--topic", "plant/west/events", "--state", "succeeded") == [{"device": "d1", "key": "west 7"}]

    def grown() -> dict[str, int]:
        return {name: count - before[name] for name, count in plant.counters("f/plant/events").items()}

    wanted = {"received": 4, "repeated": 1, "filtered": 2, "succeeded": 1, "failed": 0}
    eventually(lambda: {name: grown()[name] for name in wanted} == wanted)


def test_bash_and_typescript_run_on_mqtt_3(plant: Plant) -> None:
    """One trigger, a runnable per topic."""
    plant.publish("plant/west/valve", {"open": True})
    plant.publish("plant/west/pump", {"rpm": 1800})

    assert plant.results("--topic", "plant/west/valve") == [{"site": "west", "valve": {"open": True}}]
    assert plant.results("--topic", "plant/west/pump") == [{"site": "west", "tooFast": True}]
    sessions = {each["trigger"]: each["protocol"] for each in plant.pipeline.status()["sessions"]}
    assert (sessions["f/plant/machines"], sessions["f/plant/level"]) == ("3.1.1", "5")


def test_a_locked_package_reads_the_settings_of_a_gateway(plant: Plant) -> None:
    """Bytes, a module beside the script, an environment made of the lock; and the result is an answer."""
    with Listener(plant.port, "plant/west/gateway/answer") as answers:
        plant.publish("plant/west/gateway", "[network]\nhost = gw1\n")
        eventually(lambda: answers.messages, 40)
    assert json.loads(answers.messages[0].payload) == {"network": {"host": "gw1"}}

    assert plant.results("--topic", "plant/west/gateway") == [{"network": {"host": "gw1"}}]


def test_a_hot_machine_runs_the_flow(plant: Plant) -> None:
    """Stopped early, by the default branch, and with the alarm; one who cannot be told stops nobody."""
    for site, celsius in {"cold": 60, "warm": 75, "hot": 95, "wrong": -300}.items():
        plant.publish(f"plant/{site}/m1/temperature", {"celsius": celsius, "at": AT}, qos=2)

    assert plant.results("--topic", "plant/cold/m1/temperature") == [{"over": -10}]
    assert plant.results("--topic", "plant/warm/m1/temperature") == ["told cleo; no alarm"]
    assert plant.results("--topic", "plant/hot/m1/temperature") == ["told cleo; hot/m1 is full since 03:04"]
    (run_id,) = eventually(lambda: [run["id"] for run in plant.pipeline.runs("--state", "failed")], 40, 0.3)
    failed = json.loads(plant.pipeline.headrace("runs", "show", run_id, "--json"))
    assert (failed["runnable"], failed["error"]["name"]) == ("f/plant/overheated", "ValueError")
    plant.pipeline.headrace("dead", "drop", run_id, "--yes")


def test_the_tests_of_the_example_pass(plant: Plant) -> None:
    """As its README says to run them."""
    assert "5 passed" in plant.follow("Test it")


def test_the_commands_of_the_readme_run_every_script(plant: Plant) -> None:
    """As typed; and the books balance."""
    before = plant.counters("f/plant/gateway")["succeeded"]
    plant.follow("Try it")

    results = plant.results("--topic", "+/north/#", count=6)
    assert len(plant.results("--topic", "stand/b/#")) == 1
    assert {"device": "d1", "key": "north 7"} in results
    assert "told anna ben; no alarm" in results
    assert plant.counters("f/plant/gateway")["succeeded"] == before + 1
    status = plant.pipeline.status()
    assert all(identity["holds"] for identity in status["identities"])
    assert status["dead"] == 0
