"""Schemathesis asks both APIs whatever their descriptions allow and forbid: no defect, no answer they do not name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.console import WORKSPACE, Console
from tests.support.mosquitto import Mosquitto
from tests.support.pipeline import Pipeline
from tests.support.valkey import ValkeyServer
from tests.support.workspaces import trigger_yaml, write_workspace

ROOT = Path(__file__).parents[2]
DESCRIPTIONS = [(f"/w/{WORKSPACE}/headrace/openapi.json", 15), ("/openapi.json", 25)]
"""Where each is, and after how many seconds no more is asked."""
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
COMMAND = "from schemathesis.cli import schemathesis; schemathesis()"
HOOKS = "tests.support.schemathesis_hooks"
NAMES = ["a", "b", "c"]
FLOW = "summary: hot\nvalue: {modules: [{id: x, value: {type: script, path: f/t/a, input_transforms: {}}}]}\n"
REFUSED = {400, 404, 422}


class Site:
    """A console with ingest and a worker, in which scripts, flows, triggers and more are deployed."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self.folder = folder
        self.console = Console(folder, redis_url)
        self.pipeline = Pipeline(folder, redis_url)
        self.run_ids: list[str] = []
        self.versions: list[str] = []

    def deploy(self, broker_port: int) -> None:
        """Three of each."""
        triggers = {name: trigger_yaml(name, (f"t/{name}", 1)) for name in NAMES}
        folder = write_workspace(
            self.folder / "workspace", broker_port, triggers, dict.fromkeys(NAMES, "def main(**rest):\n    return 1\n")
        )
        for name in NAMES:
            (folder / "f" / "t" / f"{name}.variable.yaml").write_text("value: '30'\nis_secret: false\n")
            (folder / "f" / "t" / f"{name}.flow").mkdir()
            (folder / "f" / "t" / f"{name}.flow" / "flow.yaml").write_text(FLOW)
        self.pipeline.push(folder)

    def start(self) -> None:
        """Everything, and a run of each script and of a flow."""
        self.pipeline.start("ingest", "worker")
        self.console.process.start().wait_ready()
        self.pipeline.wait_connected("f/t/a")
        token = self.console.token("admin", "who starts")
        for what in [*(f"p/f/t/{name}" for name in NAMES), "f/f/t/a"]:
            self.run_ids.append(self.console.request("POST", f"/w/{WORKSPACE}/jobs/run/{what}", token, json={}).text)
        found = self.console.request("GET", f"/w/{WORKSPACE}/scripts/list", token).json()
        self.versions = [script["hash"] for script in found]

    def known(self) -> str:
        """What there is, as the hooks want it."""
        paths = [f"f/t/{name}" for name in NAMES]
        return json.dumps(
            {
                "workspace": [WORKSPACE], "path": [*paths, "f/t/new", "f/t/broker"], "script_path": paths,
                "run_id": self.run_ids, "version": self.versions, "name": ["t", "mqtt", "new"],
                "content": ["def main(): return 1"], "trigger_config": [{"mqtt_resource_path": "f/t/broker"}],
                "job_ids": [self.run_ids[:1], self.run_ids], "mqtt_resource_path": ["f/t/broker"], "kind": ["mqtt"],
                "trigger_kind": ["mqtt"], "runnable_kind": ["script", "flow"], "language": ["python3"],
                "subscribe_topics": [[{"topic": "x", "qos": "qos1"}]], "resource_type": ["state"],
            }
        )  # fmt: skip

    def close(self) -> None:
        """End all of it."""
        self.console.process.close()
        self.pipeline.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One for all descriptions."""
    folder = tmp_path_factory.mktemp("site")
    with ValkeyServer(folder / "valkey") as valkey, Mosquitto(folder / "mosquitto") as mosquitto:
        mosquitto.start()
        site = Site(folder, valkey.start().url)
        try:
            site.deploy(mosquitto.port)
            site.start()
            yield site
        finally:
            site.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("described_at, budget_s", DESCRIPTIONS)
def test_no_request_finds_a_defect_or_an_answer_that_is_not_described(
    site: Site, described_at: str, budget_s: int
) -> None:
    """Bounded in time. Streams that do not end are left out."""
    console = site.console
    report = site.folder / "report.ndjson"
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "run", f"{console.url}/api{described_at}",
         "--header", f"Authorization: Bearer {console.token('admin', described_at)}", "--checks", CHECKS,
         "--exclude-path-regex", "/events$|/capture/{path}$", "--max-time", str(budget_s), "--request-timeout", "20",
         "--phases", "fuzzing", "--max-examples", "6", "--continue-on-failure", "--generation-deterministic",
         "--warnings", "off", "--suppress-health-check", "all", "--no-color", "--workers", "1",
         "--report", "ndjson", "--report-ndjson-path", str(report)],
        env=os.environ | {"SCHEMATHESIS_HOOKS": HOOKS, "PYTHONPATH": str(ROOT), "KNOWN": site.known()},
        capture_output=True, text=True, check=False, cwd=site.folder, timeout=budget_s + 150,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-20000:]}\n{done.stderr[-2000:]}\n{console.process.output[-5000:]}"
    assert "Traceback" not in console.process.output
    seen = statuses(report)
    assert 200 in seen  # what is asked for comes through
    assert seen & REFUSED


def statuses(report: Path) -> set[int]:
    """Of all answers in a report."""
    found: set[int] = set()
    for line in report.read_text().splitlines():
        recorder = json.loads(line).get("ScenarioFinished", {}).get("recorder", {})
        answers = [each["response"] for each in recorder.get("interactions", {}).values()]
        found |= {answer["status_code"] for answer in answers if answer}
    return found
