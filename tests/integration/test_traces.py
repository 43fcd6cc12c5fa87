"""A message's trace through every process: to code and child runs, and as spans to a collector."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.support.collector import Collector
from tests.support.eventually import eventually
from tests.support.mosquitto import Mosquitto
from tests.support.pipeline import Pipeline
from tests.support.ports import HOST, free_port
from tests.support.valkey import ValkeyServer
from tests.support.wheels import PackageFolder
from tests.support.workspaces import trigger_yaml, write_workspace

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
STATE = "congo=t61rcWkgMzE"
SCRIPTS = {
    "tells": """
        import os
        import headrace

        def main(payload: bytes):
            return [headrace.run.traceparent, headrace.run.tracestate,
                    os.environ.get("TRACEPARENT"), os.environ.get("TRACESTATE")]
        """,
    "asks": """
        import wmill

        def main(payload: bytes):
            return wmill.run_script_by_path_sync("f/t/child")
        """,
    "child": """
        import headrace

        def main():
            return headrace.run.traceparent
        """,
    "answers": """
        def main(payload: bytes):
            return "told"
        """,
    "fails": """
        def main(payload: bytes):
            raise ValueError("too hot")
        """,
}
OTHERS = {
    "sh": """\
        echo "$TRACEPARENT $TRACESTATE"
        """,
    "ts": """\
        import { run } from "headrace";
        export function main(payload: string) {
          return [run.traceparent, run.tracestate, Deno.env.get("TRACEPARENT"), Deno.env.get("TRACESTATE")];
        }
        """,
}
"""Scripts in other languages, each named like its extension."""
OTEL = {"OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_EXPORTER_OTLP_TIMEOUT": "2"}


class Plant:
    """A pipeline with the scripts above, each run by messages on `t/<name>`."""

    def __init__(self, folder: Path, redis_url: str, broker: Mosquitto, **env: str) -> None:
        packages = PackageFolder(folder / "packages")
        packages.add_installed("wmill")
        self.pipeline = Pipeline(
            folder, redis_url, HEADRACE_CONSOLE__PORT=str(free_port()), HEADRACE_METRICS__PORT="0",
            **packages.environment, **env,
        )  # fmt: skip
        names = [name for name in SCRIPTS if name != "child"]
        triggers = {name: trigger_yaml(name, (f"t/{name}", 2)) for name in names}
        triggers["answers"] += "reply: true\n"
        triggers |= {name: trigger_yaml(name, (f"t/{name}", 2)) for name in OTHERS}
        workspace = write_workspace(folder / "workspace", broker.port, triggers, SCRIPTS)
        for name, text in OTHERS.items():
            (workspace / "f" / "t" / f"{name}.{name}").write_text(dedent(text))
        self.pipeline.push(workspace)
        self.pipeline.start("ingest", "dispatch", "worker", "worker-2", "console")
        self.pipeline.wait_connected(*[f"f/t/{name}" for name in names], timeout_s=60)
        self.pipeline.processes["console"].wait_ready(60)
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.connect(HOST, broker.port)
        self.answers: list[list[tuple[str, str]]] = []
        self._client.on_message = lambda _client, _data, message: self.answers.append(message.properties.UserProperty)
        self._client.subscribe("answers/#", qos=1)
        self._client.loop_start()

    def run(self, name: str, *properties: tuple[str, str]) -> dict[str, Any]:
        """Publish a message with these user properties; its run, once it has ended."""
        known = {run["id"] for run in self.pipeline.runs("--trigger", f"f/t/{name}")}
        given = Properties(PacketTypes.PUBLISH)
        given.ResponseTopic = "answers/here"
        if properties:
            given.UserProperty = list(properties)
        self._client.publish(f"t/{name}", "go", qos=2, properties=given).wait_for_publish(20)

        def ended() -> list[dict[str, Any]]:
            runs = self.pipeline.runs("--trigger", f"f/t/{name}")
            return [run for run in runs if run["id"] not in known and run["ended_at"]]

        return eventually(ended, 40, 0.2)[0]

    def close(self) -> None:
        """End everything."""
        self._client.disconnect()
        self._client.loop_stop()
        self.pipeline.close()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ValkeyServer, Mosquitto]]:
    """A Redis and a broker for all tests of this file."""
    folder = tmp_path_factory.mktemp("servers")
    with ValkeyServer(folder / "valkey") as valkey, Mosquitto(folder / "mosquitto") as broker:
        yield valkey.start(), broker.start()


@pytest.fixture(scope="module")
def untraced(servers: tuple[ValkeyServer, Mosquitto], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """All processes; nothing is recorded."""
    valkey, broker = servers
    with valkey.client() as client:
        client.flushall()
    plant = Plant(tmp_path_factory.mktemp("untraced"), valkey.url, broker)
    yield plant
    plant.close()


def test_code_is_told_the_trace_of_its_message_as_it_came(untraced: Plant) -> None:
    """As context, and in the variables that OpenTelemetry reads in any language."""
    said = untraced.run("tells", ("traceparent", PARENT), ("tracestate", STATE))
    assert said["result"] == [PARENT, STATE, PARENT, STATE]


def test_code_in_other_languages_is_told_as_well(untraced: Plant) -> None:
    """By the same names."""
    said = [("traceparent", PARENT), ("tracestate", STATE)]
    assert untraced.run("sh", *said)["result"] == f"{PARENT} {STATE}"
    assert untraced.run("ts", *said)["result"] == [PARENT, STATE, PARENT, STATE]


@pytest.mark.parametrize("wrong", ["", PARENT.upper(), f"ff-{TRACE}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01"])
def test_code_is_told_nothing_where_the_trace_is_not_valid(untraced: Plant, wrong: str) -> None:
    """Nor where there was none; the run goes its way. What the run before was told is gone from the environment."""
    untraced.run("tells", ("traceparent", PARENT), ("tracestate", STATE))
    properties = [("traceparent", wrong), ("tracestate", STATE)] if wrong else []
    assert untraced.run("tells", *properties)["result"] == [None, None, None, None]


def test_a_child_run_goes_on_with_the_trace_of_its_parent(untraced: Plant) -> None:
    """Although no message made it."""
    assert untraced.run("asks", ("traceparent", PARENT))["result"] == PARENT


def test_an_answer_goes_on_with_the_trace_of_what_it_answers(untraced: Plant) -> None:
    """In its user properties, as the message had it in its own."""
    untraced.run("answers", ("traceparent", PARENT), ("tracestate", STATE))
    answer = dict(eventually(lambda: untraced.answers)[0])
    assert (answer["traceparent"], answer["tracestate"]) == (PARENT, STATE)


def test_the_spans_of_all_processes_make_one_trace(
    tmp_path: Path, own_valkey: ValkeyServer, mosquitto: Mosquitto
) -> None:
    """Each below the one before, below what the message brought along; a child run's below its parent's."""
    with Collector() as collector:
        plant = Plant(tmp_path, own_valkey.url, mosquitto, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint, **OTEL)
        try:
            told = plant.run("tells", ("traceparent", PARENT), ("tracestate", STATE))
            run = eventually(lambda: collector.named("run f/t/tells"))[0]
            place = eventually(lambda: collector.named("place f/t/tells"))[0]
            receive = eventually(lambda: collector.named("receive f/t/tells"))[0]
            assert [span.trace_id for span in (receive, place, run)] == [TRACE] * 3
            assert (receive.parent, place.parent, run.parent) == (SPAN, receive.span_id, place.span_id)
            assert told["result"] == [f"00-{TRACE}-{run.span_id}-01", STATE, f"00-{TRACE}-{run.span_id}-01", STATE]
            services = ["headrace-ingest", "headrace-dispatch", "headrace-worker"]
            assert [span.service for span in (receive, place, run)] == services
            assert all(span.began_ns <= span.ended_ns and span.state == STATE for span in (receive, place, run))
            assert (run.attributes["headrace.run"], run.attributes["headrace.outcome"]) == (told["id"], "succeeded")
            assert receive.attributes["messaging.destination.name"] == "t/tells"

            asked = plant.run("asks")
            parent, child = eventually(
                lambda: [*collector.named("run f/t/asks"), *collector.named("run f/t/child")][:2]
            )
            assert parent.trace_id == child.trace_id != TRACE
            assert (child.parent, asked["result"]) == (parent.span_id, f"00-{child.trace_id}-{child.span_id}-01")

            plant.run("fails")
            failed = eventually(lambda: collector.named("run f/t/fails"))[0]
            assert (failed.error, failed.attributes["headrace.outcome"]) == ("ValueError: too hot", "failed")

            plant.run("tells", ("traceparent", PARENT[:-2] + "00"))
            plant.run("tells")
            eventually(lambda: len(collector.named("run f/t/tells")) == 2)
            assert len(collector.named("receive f/t/tells")) == 2  # what its sender does not record, nobody does
        finally:
            plant.close()


def test_a_collector_that_is_away_holds_up_nothing(
    tmp_path: Path, own_valkey: ValkeyServer, mosquitto: Mosquitto
) -> None:
    """Messages run; it is told that spans are lost; every process ends in time and in good order."""
    nowhere = f"http://{HOST}:{free_port()}"
    env = {**OTEL, "OTEL_BSP_MAX_QUEUE_SIZE": "8", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "4"}
    plant = Plant(tmp_path, own_valkey.url, mosquitto, OTEL_EXPORTER_OTLP_ENDPOINT=nowhere, **env)
    try:
        for _ in range(3):
            assert plant.run("tells")["state"] == "succeeded"
        processes = plant.pipeline.processes
        eventually(lambda: "tracing.failed" in processes["ingest"].output, 30)
        assert {label: process.sigterm(20) for label, process in processes.items()} == dict.fromkeys(processes, 0)
        assert not [process for process in processes.values() if "Traceback" in process.output]
        assert processes["ingest"].output.count("tracing.failed") == 1
    finally:
        plant.close()


def test_a_protocol_that_is_not_spoken_is_told_and_no_span_recorded(
    tmp_path: Path, own_valkey: ValkeyServer, headrace: Any
) -> None:
    """The process does its work."""
    del tmp_path
    process = headrace(
        "dispatch", REDIS_URL=own_valkey.url, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1",
        OTEL_EXPORTER_OTLP_PROTOCOL="grpc", HEADRACE_LOG__FORMAT="json", HEADRACE_METRICS__PORT="0",
    )  # fmt: skip
    eventually(lambda: "headrace dispatch ready" in process.output)
    lines = [json.loads(line) for line in process.output.splitlines()]
    assert [line["reason"] for line in lines if line["event"] == "tracing.unavailable"] == [
        "OTLP is sent as http/protobuf, not as grpc"
    ]
