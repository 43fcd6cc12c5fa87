"""`honcho` is stopped while code runs: what may end in time ends, what may not is dealt with at the next start."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.burst import Publisher
from tests.support.eventually import eventually
from tests.support.mosquitto import Mosquitto
from tests.support.pipeline import Pipeline
from tests.support.processes import ROOT, Child, headrace_env
from tests.support.valkey import ValkeyServer
from tests.support.workers import Journal
from tests.support.workspaces import trigger_yaml, write_workspace

BIN = Path(sys.executable).parent
NUMBERS = ["-c", "worker=3", "ingest", "dispatch", "worker"]
BY_SIGTERM = 128 + 15


class Stage:
    """Honcho with a worker for each QoS, and a script that holds until it is let go."""

    def __init__(self, folder: Path, valkey: ValkeyServer, mosquitto: Mosquitto) -> None:
        self.journal = Journal(folder)
        self.pipeline = Pipeline(folder, valkey.url)
        triggers = {f"q{qos}": trigger_yaml("holding", (f"stop/q{qos}", qos)) for qos in range(3)}
        scripts = {"holding": self.journal.source}
        self.pipeline.push(write_workspace(folder / "workspace", mosquitto.port, triggers, scripts))
        shutil.copy(ROOT / "Procfile", folder)
        path = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
        env = headrace_env(self.pipeline.env | path)
        self.honcho = Child([str(BIN / "honcho"), "start", *NUMBERS], folder / "honcho.log", env=env, cwd=folder)
        self._port = mosquitto.port

    def start(self) -> None:
        """All processes, connected."""
        ready = self.honcho.output.count(" ready")
        self.honcho.start()
        eventually(lambda: self.honcho.output.count(" ready") == ready + 5, 60)
        self.pipeline.wait_connected(*[f"f/t/q{qos}" for qos in range(3)], timeout_s=60)

    def hold(self) -> None:
        """A run of each QoS executes."""
        publisher = Publisher(self._port)
        for qos in range(3):
            publisher.publish(f"stop/q{qos}", ["hold"], qos)
            eventually(lambda qos=qos: len(self.journal.executed()) == qos + 1, 60)  # type: ignore[misc]
        publisher.close()

    def ended(self) -> dict[int, tuple[str, int]]:
        """State and attempts of the run of each QoS."""
        return {run["qos"]: (run["state"], run["attempts"]) for run in self.pipeline.runs()}

    def close(self) -> None:
        """Honcho ends its processes when it is asked to, and could not if it were killed."""
        if self.honcho.running:
            self.honcho.sigterm(60)


@pytest.fixture
def stage(tmp_path: Path, own_valkey: ValkeyServer, mosquitto: Mosquitto) -> Iterator[Stage]:
    """Started, with a run of each QoS under way."""
    made = Stage(tmp_path, own_valkey, mosquitto)
    try:
        made.start()
        made.hold()
        yield made
    finally:
        made.close()


def test_code_that_ends_in_time_is_waited_for(stage: Stage) -> None:
    """All processes end with 0, and every run has its result."""
    stage.honcho.send(signal.SIGTERM)
    eventually(lambda: stage.honcho.output.count("headrace worker stopping") == 3)
    stage.journal.open_gate()

    assert stage.honcho.wait(60) == BY_SIGTERM
    assert stage.honcho.output.count("stopped (rc=0)") == 5, stage.honcho.output
    assert stage.ended() == dict.fromkeys(range(3), ("succeeded", 1))
    assert "Traceback" not in stage.honcho.output


def test_code_that_honcho_kills_follows_the_crash_policy(stage: Stage) -> None:
    """Killed after 5 seconds: at the next start QoS 0 is lost, QoS 1 runs again, QoS 2 is for a person to decide."""
    assert stage.honcho.sigterm(60) == BY_SIGTERM
    assert stage.honcho.output.count("stopped (rc=0)") == 2, stage.honcho.output
    assert stage.honcho.output.count("stopped (rc=-9)") == 3, stage.honcho.output
    stage.start()

    eventually(lambda: stage.ended() == {0: ("lost", 1), 1: ("succeeded", 2), 2: ("interrupted", 1)}, 60, 0.3)
    assert sorted(run[1] for run in stage.journal.executed()) == ["0", "1", "1", "2"]
    dead = stage.pipeline.status()
    assert all(identity["holds"] for identity in dead["identities"])
