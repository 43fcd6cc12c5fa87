"""Windmill's own client inside scripts, in runs that messages made, through every process of the pipeline."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import paho.mqtt.client as paho
import pytest

from shared.history import search, show
from shared.run_query import Query
from shared.run_record import Run
from shared.store import Store
from tests.support.eventually import eventually
from tests.support.mosquitto import Mosquitto
from tests.support.pipeline import Pipeline
from tests.support.ports import HOST, free_port
from tests.support.valkey import ValkeyServer
from tests.support.wheels import PackageFolder
from tests.support.workspaces import trigger_yaml, write_workspace

PASSWORD = "hunter2-of-the-database"
SCRIPTS = {
    "counts": """
        import wmill

        def main():
            seen = (wmill.get_state() or 0) + 1
            wmill.set_state(seen)
            return seen
        """,
    "looks": """
        import wmill

        def main(payload: bytes):
            before = wmill.get_variable("f/t/limit")
            wmill.set_variable("f/t/limit", payload.decode())
            client = wmill.Windmill()
            client.set_progress(42)
            return {
                "database": wmill.get_resource("f/t/db")["password"] == "hunter2-" + "of-the-database",
                "limit": [before, wmill.get_variable("f/t/limit")],
                "progress": client.get_progress(),
                "who": client.whoami()["email"],
                "draining": client.worker_is_draining(),
            }
        """,
    "asks": """
        import time
        import wmill

        def main(payload: bytes):
            client = wmill.Windmill()
            child = wmill.run_script_by_path_async("f/t/child", {"t": float(payload)})
            while wmill.get_job_status(child) != "COMPLETED":
                time.sleep(0.05)
            try:
                awaited = wmill.run_script_by_path_sync("f/t/child", {"t": float(payload) + 1})
            except Exception as error:
                awaited = str(error)
            return {"child": child, "result": wmill.get_result(child), "awaited": awaited,
                    "root": client.get_root_job_id(child)}
        """,
    "child": """
        def main(t: float, unit: str = "C"):
            if t > 100:
                raise ValueError(f"{t} {unit} is too hot")
            return {"t": t, "unit": unit}
        """,
    "cancels": """
        import time
        import wmill

        def main():
            client = wmill.Windmill()
            child = wmill.run_script_by_path_async("f/t/sleeper")
            while wmill.get_job_status(child) != "RUNNING":
                time.sleep(0.05)
            client.cancel_job(child, "seen enough")
            while wmill.get_job_status(child) != "COMPLETED":
                time.sleep(0.05)
            return wmill.get_result(child)["error"]
        """,
    "sleeper": """
        import time

        def main():
            time.sleep(60)
        """,
    "drains": """
        import time
        import wmill

        def main():
            client = wmill.Windmill()
            while not client.worker_is_draining():
                time.sleep(0.1)
            return "told"
        """,
    "leaks": """
        import os, pathlib, urllib.error, urllib.request

        def status(token):
            url = os.environ["BASE_INTERNAL_URL"] + "/api/w/headrace/variables/get_value/f/t/password"
            headers = {"Authorization": "Bearer " + token} if token else {}
            try:
                return urllib.request.urlopen(urllib.request.Request(url, headers=headers)).status
            except urllib.error.HTTPError as error:
                return error.code

        def main(payload: bytes):
            pathlib.Path(payload.decode()).write_text(os.environ["WM_TOKEN"])
            print("token:", os.environ["WM_TOKEN"])
            token = os.environ["WM_TOKEN"]
            return [status(token), status(""), status(token + "x"), token]
        """,
}
TRIGGERED = [name for name in SCRIPTS if name not in {"child", "sleeper"}]


class Plant:
    """A pipeline with the scripts above, each run by messages on `t/<name>`."""

    def __init__(self, folder: Path, redis_url: str, broker: Mosquitto) -> None:
        self.url = f"http://{HOST}:{(port := free_port())}"
        self.store = Store.connect(redis_url)
        self.broker_client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        packages = PackageFolder(folder / "packages")
        packages.add_installed("wmill")
        self.pipeline = Pipeline(folder, redis_url, HEADRACE_CONSOLE__PORT=str(port), **packages.environment)
        triggers = {name: trigger_yaml(name, (f"t/{name}", 2)) for name in TRIGGERED}
        triggers["counts_too"] = trigger_yaml("counts", ("t/counts_too", 2))
        workspace = write_workspace(folder / "workspace", broker.port, triggers, SCRIPTS)
        base = workspace / "f" / "t"
        (base / "limit.variable.yaml").write_text("description: ''\nvalue: '30'\nis_secret: false\n")
        (base / "password.variable.yaml").write_text(f"description: ''\nvalue: {PASSWORD}\nis_secret: true\n")
        (base / "db.resource.yaml").write_text("resource_type: postgresql\nvalue:\n  password: $var:f/t/password\n")
        self.pipeline.push(workspace)
        self.pipeline.start("ingest", "dispatch", "worker-1", "worker-2", "console")
        self.pipeline.wait_connected(*[f"f/t/{name}" for name in triggers])
        self.pipeline.processes["console"].wait_ready()
        self.broker_client.connect(HOST, broker.port)
        self.broker_client.loop_start()

    def run(self, name: str, payload: str = "go") -> Run:
        """Publish a message; the run that it made, once it has succeeded."""
        begun = self.begin(name, payload)
        ended = eventually(lambda: [run for run in self.runs(name) if run.id == begun.id and run.ended_at], 30)[0]
        assert ended.state == "succeeded", ended
        return ended

    def begin(self, name: str, payload: str = "go") -> Run:
        """Publish a message; the run that it made."""
        known = {run.id for run in self.runs(name)}
        self.broker_client.publish(f"t/{name}", payload, qos=2).wait_for_publish(20)
        return eventually(lambda: [run for run in self.runs(name) if run.id not in known], 20)[0]

    def runs(self, name: str) -> list[Run]:
        """The runs of a trigger, newest first."""
        return list(search(self.store, Query(trigger=f"f/t/{name}"), lambda _looked_at: None))

    def close(self) -> None:
        """End everything."""
        self.broker_client.disconnect()
        self.broker_client.loop_stop()
        self.pipeline.close()
        self.store.close()


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """All processes, for all tests of this file."""
    folder = tmp_path_factory.mktemp("plant")
    with ValkeyServer(folder / "valkey") as valkey, Mosquitto(folder / "mosquitto") as broker:
        plant = Plant(folder, valkey.start().url, broker.start())
        yield plant
        plant.close()


def test_state_is_kept_from_run_to_run_and_apart_for_each_trigger(plant: Plant) -> None:
    """Two triggers of one script count for themselves."""
    results = [plant.run(name).result for name in ("counts", "counts", "counts_too", "counts")]

    assert results == [1, 2, 1, 3]


def test_a_run_reads_its_resources_and_sets_variables(plant: Plant) -> None:
    """The next run sees what this one has set; progress and the user are there as well."""
    first, second = plant.run("looks", "31").result, plant.run("looks", "32").result

    assert first == {
        "database": True,
        "limit": ["30", "31"],
        "progress": 42,
        "who": "headrace@localhost",
        "draining": False,
    }
    assert second["limit"] == ["31", "32"]


def test_a_run_starts_another_script_and_waits_for_its_result(plant: Plant) -> None:
    """The child has the arguments and the defaults, is shown with its parent, and stands outside the identities."""
    run = plant.run("asks", "21.5")
    result = run.result

    assert result["result"] == {"t": 21.5, "unit": "C"}
    assert result["awaited"] == {"t": 22.5, "unit": "C"}
    assert result["root"] == run.id
    shown = json.loads(plant.pipeline.headrace("runs", "show", result["child"], "--json"))
    assert (shown["args"], shown["origin"], shown["parent"]) == ({"t": 21.5}, "child", run.id)


def test_the_error_of_a_child_is_seen_by_its_parent(plant: Plant) -> None:
    """As a result with `error`, and as an exception of the client that waits."""
    result = plant.run("asks", "100.5").result

    assert result["result"]["error"]["name"] == "ValueError"
    assert result["result"]["error"]["message"] == "100.5 C is too hot"
    assert "was not successful" in result["awaited"]
    assert "101.5 C is too hot" in result["awaited"]


def test_a_run_cancels_a_child_that_executes(plant: Plant) -> None:
    """Its worker stops it and goes on."""
    error = plant.run("cancels").result

    assert (error["name"], error["reason"]) == ("Canceled", "seen enough")


def test_a_run_is_told_that_its_worker_was_asked_to_stop(plant: Plant) -> None:
    """So that a long run comes to its end in time."""
    run = plant.begin("drains")
    eventually(lambda: plant.runs("drains")[0].state == "running")
    workers = [plant.pipeline.processes[label] for label in ("worker-1", "worker-2")]
    for worker in workers:
        worker.send(signal.SIGTERM)

    assert [worker.wait(40) for worker in workers] == [0, 0]
    assert [(each.id, each.result) for each in plant.runs("drains")] == [(run.id, "told")]
    plant.pipeline.start("worker-1", "worker-2")


def test_a_token_opens_what_the_run_may_read_and_is_refused_once_it_has_ended(plant: Plant, tmp_path: Path) -> None:
    """And without one, or with a wrong one, a secret is out of reach. What the run says of it is masked."""
    file = tmp_path / "token"
    run = plant.run("leaks", str(file))
    assert run.result == [200, 401, 401, "***"]
    assert show(plant.store, run.id).attempts[0].log == "token: ***\n"

    headers = {"Authorization": f"Bearer {file.read_text()}"}
    answer = httpx.get(f"{plant.url}/api/w/headrace/variables/get_value/f/t/password", headers=headers)
    assert (answer.status_code, "is not executed any more" in answer.text) == (401, True)
