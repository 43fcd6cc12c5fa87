"""Flows in the whole pipeline: pushed, triggered by a message, run by a worker, shown; and captured for trying them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest

from tests.support.burst import Publisher
from tests.support.eventually import eventually
from tests.support.mosquitto import Mosquitto
from tests.support.pipeline import Pipeline
from tests.support.processes import ROOT
from tests.support.valkey import ValkeyServer
from tests.support.workspaces import write_workspace

TRIGGER = "f/t/a"
WORKSPACE = ROOT / "tests/fixtures/flows"
LAST = {
    "check": "hot", "each": [{"who": "a"}, {"who": "b"}, {"who": "c"}], "inner": {"got": 5}, "failed": "1 degrees",
    "until": [0, 1, 2], "left_out": [0, 1, 2], "stands_in": "mocked", "goes_on": "2 degrees", "site": "7",
}  # fmt: skip


@pytest.fixture
def pipeline(tmp_path: Path, valkey: ValkeyServer) -> Iterator[Pipeline]:
    """Processes on a Redis of the test's own."""
    pipeline = Pipeline(tmp_path, valkey.url)
    yield pipeline
    pipeline.close()


@pytest.fixture
def folder(tmp_path: Path, mosquitto: Mosquitto) -> Path:
    """A workspace whose trigger runs a flow with every construct, and other things on other topics."""
    shutil.copytree(WORKSPACE, tmp_path / "ws")
    return write_workspace(tmp_path / "ws", mosquitto.port, {}, {})


def run_of(pipeline: Pipeline, *options: str) -> dict[str, object]:
    """The one run that the options ask for, once it has ended."""

    def ended() -> list[str]:
        return [run["id"] for run in pipeline.runs(*options) if run["state"] in ("succeeded", "failed")]

    (run_id,) = eventually(ended, 40, 0.3)
    shown: dict[str, object] = json.loads(pipeline.headrace("runs", "show", run_id, "--json"))
    return shown


def test_a_flow_with_every_construct_is_pushed_triggered_run_and_shown(
    pipeline: Pipeline, mosquitto: Mosquitto, folder: Path
) -> None:
    """It comes to the same on this machine alone; other runnables of the trigger are run for their topics."""
    pipeline.push(folder)
    pipeline.start("ingest", "dispatch", "worker")
    pipeline.wait_connected(TRIGGER)
    publisher = Publisher(mosquitto.port)
    for topic, payload in {"plant/7/t": '{"t": 31}', "plant/8/t": '{"t": 10}', "plant/9/t": '{"t": 99}'}.items():
        publisher.publish(topic, [payload], 2)
    publisher.publish("plant/plain", ["[1]"], 1)
    publisher.publish("plant/script", ["[2]"], 1)
    publisher.close()

    hot, cold, boiling = (run_of(pipeline, "--topic", f"plant/{site}/t") for site in (7, 8, 9))
    assert (hot["state"], hot["result"]) == ("succeeded", LAST)
    assert (cold["state"], cold["result"]) == ("succeeded", "cold")
    assert boiling["state"] == "failed"
    handled = run_of(pipeline, "--runnable", "f/t/handler")
    assert handled["result"] == ["99 degrees", "f/t/everything", True]
    assert run_of(pipeline, "--topic", "plant/plain")["result"] == {"got": [1]}
    assert run_of(pipeline, "--topic", "plant/script")["result"] == [2]
    here = json.loads(pipeline.headrace("flow", "run", "f/t/everything", "--args", '{"t": 31, "site": "7"}', "--json"))
    assert here["result"] == LAST
    shown = pipeline.headrace("runs", "show", str(hot["id"]))
    assert "f/t/everything" in shown


def test_a_captured_message_is_what_a_flow_is_tried_with(
    pipeline: Pipeline, mosquitto: Mosquitto, folder: Path
) -> None:
    """The capture says that the flow has a preprocessor."""
    pipeline.push(folder)
    pipeline.start("ingest")
    pipeline.wait_connected(TRIGGER)
    said: list[str] = []
    capturing = Thread(
        target=lambda: said.append(pipeline.headrace("capture", TRIGGER, "--save", "event.json", "--json"))
    )
    capturing.start()
    publisher = Publisher(mosquitto.port)
    while capturing.is_alive():
        publisher.publish("plant/7/t", ['{"t": 10}'], 2)
        capturing.join(0.2)
    publisher.close()

    runs = json.loads(said[0])["runs"]
    assert runs == [{"runnable": "f/t/everything", "captures": {"site": "7"}, "preprocessor": True}]
    done = json.loads(pipeline.headrace("flow", "run", "f/t/everything", "--event", "event.json", "--json"))
    assert (done["arguments"], done["result"], done["skipped"]) == ({"t": 10, "site": "7"}, "cold", True)
