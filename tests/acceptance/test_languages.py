"""Scripts in bash and TypeScript, from the broker to the record, also when the process that executes them is killed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.burst import Publisher
from tests.support.eventually import eventually
from tests.support.mosquitto import Mosquitto
from tests.support.pipeline import Pipeline
from tests.support.workspaces import trigger_yaml, write_workspace

SHELL = """
payload="$1"
echo "$RUN_ID $RUN_ATTEMPT" >>{journal}
while [[ $payload == hold && $RUN_ATTEMPT == 1 ]]; do sleep 0.05; done
echo "$payload at $RUN_TOPIC"
"""
LIMITS = "export const limit: number = 22;\n"
TYPES = """
import { run } from "headrace";
import { limit } from "./limits";

export async function preprocessor(event: { payload: string; topic: string }) {
  return { celsius: Number(atob(event.payload)), site: event.topic.split("/")[1] };
}

export async function main(site: string, celsius: number) {
  if (Number.isNaN(celsius)) throw new RangeError(`${site} sent no number`);
  return { site, hot: celsius > limit, key: run.idempotencyKey };
}
"""


@pytest.fixture
def pipeline(tmp_path: Path, redis_url: str, mosquitto: Mosquitto) -> Iterator[Pipeline]:
    """Ingest, dispatch and a worker, with a script in each language for QoS 1 and 2."""
    triggers = {}
    for qos in (1, 2):
        triggers[f"shell{qos}"] = trigger_yaml("shell", (f"shell/q{qos}", qos), extra="payload: text\n")
        triggers[f"types{qos}"] = trigger_yaml("types", (f"types/q{qos}", qos))
    workspace = write_workspace(tmp_path / "workspace", mosquitto.port, triggers, {})
    (workspace / "f/t/shell.sh").write_text(SHELL.format(journal=tmp_path / "journal"))
    (workspace / "f/t/limits.ts").write_text(LIMITS)
    (workspace / "f/t/types.ts").write_text(TYPES)
    made = Pipeline(tmp_path, redis_url)
    try:
        made.push(workspace)
        made.start("ingest", "dispatch", "worker")
        made.wait_connected(*[f"f/t/{name}" for name in triggers])
        yield made
    finally:
        made.close()


@pytest.fixture
def publisher(mosquitto: Mosquitto) -> Iterator[Publisher]:
    """A client of the broker."""
    client = Publisher(mosquitto.port)
    yield client
    client.close()


def ended(pipeline: Pipeline, count: int) -> dict[str, dict[str, Any]]:
    """All that is recorded of each run by its topic, once so many have ended."""

    def look() -> list[str] | None:
        over = [run for run in pipeline.runs() if run["state"] not in ("queued", "running")]
        return [run["id"] for run in over] if len(over) == count else None

    runs = [json.loads(pipeline.headrace("runs", "show", run, "--json")) for run in eventually(look, 60, 0.3)]
    return {run["topic"]: run for run in runs}


def bash_that_executes(pipeline: Pipeline) -> psutil.Process | None:
    """The process of the run."""
    worker = psutil.Process(pipeline.processes["worker"].pid)
    return next((each for each in worker.children(recursive=True) if each.name() == "bash"), None)


def test_a_message_runs_a_script_in_bash_and_in_typescript(pipeline: Pipeline, publisher: Publisher) -> None:
    """At QoS 1 and 2, with result, error and the idempotency key."""
    for qos in (1, 2):
        publisher.publish(f"shell/q{qos}", ["21.5"], qos)
        publisher.publish(f"types/q{qos}", ["warm" if qos == 1 else "23.5"], qos)

    runs = ended(pipeline, 4)

    assert [runs[f"shell/q{qos}"]["result"] for qos in (1, 2)] == ["21.5 at shell/q1", "21.5 at shell/q2"]
    hot = runs["types/q2"]
    assert hot["result"] == {"site": "q2", "hot": True, "key": hot["idempotency_key"]}
    assert runs["types/q1"]["state"] == "failed"
    assert runs["types/q1"]["error"]["message"] == "q1 sent no number"


def test_a_bash_that_is_killed_is_started_again_at_qos_1_and_never_at_qos_2(
    pipeline: Pipeline, publisher: Publisher, tmp_path: Path
) -> None:
    """Kill -9 of the process that executes the script, in the middle of it."""
    journal = tmp_path / "journal"
    for qos in (1, 2):
        publisher.publish(f"shell/q{qos}", ["hold"], qos)
        eventually(lambda qos=qos: journal.exists() and len(journal.read_text().splitlines()) == 2 * qos - 1)  # type: ignore[misc]
        eventually(lambda: bash_that_executes(pipeline)).kill()
        if qos == 1:
            eventually(lambda: len(journal.read_text().splitlines()) == 2)

    runs = ended(pipeline, 2)

    assert (runs["shell/q1"]["state"], runs["shell/q1"]["attempts"]) == ("succeeded", 2)
    assert (runs["shell/q2"]["state"], runs["shell/q2"]["attempts"]) == ("interrupted", 1)
    assert [line.split()[0][:2] for line in journal.read_text().splitlines()] == ["q1", "q1", "q2"]
    assert all(identity["holds"] for identity in pipeline.status()["identities"])
