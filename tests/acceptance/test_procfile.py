"""The Procfile as it is: what `make run` starts, and what a production host starts of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.eventually import eventually
from tests.support.mosquitto import Mosquitto
from tests.support.pipeline import COMMAND
from tests.support.ports import free_port
from tests.support.processes import ROOT, Child, headrace_env
from tests.support.valkey import ValkeyServer

BIN = Path(sys.executable).parent
HELLO_PORT = "11883"


class Honcho(Child):
    """`honcho start` in a copy of the folder, with the example's broker on a free port."""

    def __init__(self, folder: Path, *arguments: str, **env: str) -> None:
        self.broker_port = free_port()
        self.console_port = free_port()
        shutil.copy(ROOT / "Procfile", folder)
        shutil.copytree(ROOT / "examples" / "hello", folder / "examples" / "hello")
        resource = folder / "examples" / "hello" / "f" / "demo" / "broker.resource.yaml"
        resource.write_text(resource.read_text().replace(HELLO_PORT, str(self.broker_port)))
        self.folder = folder
        self.env = headrace_env(
            {
                "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
                "REDIS_URL": f"redis://127.0.0.1:{free_port()}/0",
                "HEADRACE_BROKER": f"mqtt://127.0.0.1:{self.broker_port}",
                "HEADRACE_CONSOLE__PORT": str(self.console_port),
                "HEADRACE_LOG__RUNS": "true",
            }
            | env
        )
        super().__init__([str(BIN / "honcho"), "start", *arguments], folder / "honcho.log", env=self.env, cwd=folder)

    def close(self) -> None:
        """Honcho ends its processes when it is asked to, and could not if it were killed."""
        if self.running:
            self.sigterm(40)

    def headrace(self, *arguments: str) -> str:
        """A command in another terminal; what it printed."""
        command = [*COMMAND, *arguments]
        done = subprocess.run(command, cwd=self.folder, env=self.env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def succeeded(self, trigger: str) -> list[dict[str, object]]:
        """Runs of a trigger that ended well."""
        lines = self.headrace("runs", "--json", "--trigger", trigger, "--state", "succeeded").splitlines()
        return [json.loads(line) for line in lines]


@pytest.fixture(params=["mosquitto", "amqtt"])
def everything(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Honcho]:
    """All processes of the Procfile, with Mosquitto and without."""
    broker = {"HEADRACE_MOSQUITTO": "none"} if request.param == "amqtt" else {}
    with Honcho(tmp_path, **broker) as honcho:
        yield honcho.start()


def test_one_command_runs_the_example_and_ctrl_c_ends_it_in_good_order(everything: Honcho) -> None:
    """Runs appear on the terminal and in the history; a message of one's own runs too; every process ends with 0."""
    eventually(lambda: everything.succeeded("f/demo/hello") and everything.succeeded("f/demo/temperature"), 40, 0.5)
    everything.headrace("publish", "demo/hello", "mine", "--qos", "2")
    eventually(lambda: {"said": "mine"} in [run["result"] for run in everything.succeeded("f/demo/hello")], 20, 0.2)
    everything.send(signal.SIGINT)
    everything.wait(40)

    assert "succeeded in" in everything.output
    assert f"headrace console ready  url=http://127.0.0.1:{everything.console_port}" in everything.output
    assert everything.output.count("stopped (rc=0)") == 7, everything.output
    assert "Traceback" not in everything.output


def test_several_of_each_process_share_the_work(tmp_path: Path, own_valkey: ValkeyServer, mosquitto: Mosquitto) -> None:
    """As in production: own Redis, own broker, two ingests, two dispatchers, four workers."""
    numbers = ["-c", "ingest=2,dispatch=2,worker=4", "ingest", "dispatch", "worker"]
    with Honcho(tmp_path, *numbers, REDIS_URL=own_valkey.url, HEADRACE_BROKER=mosquitto.url) as honcho:
        resource = tmp_path / "examples" / "hello" / "f" / "demo" / "broker.resource.yaml"
        resource.write_text(resource.read_text().replace(str(honcho.broker_port), str(mosquitto.port)))
        honcho.start()
        honcho.headrace("push", "examples/hello", "--yes")
        eventually(lambda: honcho.output.count(" ready") >= 8, 40, 0.2)
        eventually(lambda: honcho.headrace("status").count("connected") == 2, 20, 0.3)
        honcho.headrace("publish", "demo/hello", "again", "--qos", "2", "--count", "200")
        eventually(
            lambda: json.loads(honcho.headrace("status", "--json"))["counters"]["total"]["succeeded"] == 200, 30, 0.3
        )
        status = json.loads(honcho.headrace("status", "--json"))
        assert len(status["workers"]) == 4
        assert all(identity["holds"] for identity in status["identities"])
        assert honcho.sigterm(40) is not None

    assert honcho.output.count("stopped (rc=0)") == 8, honcho.output
