"""The pipeline as a monitoring system sees it: metrics and health of every process, over HTTP."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import httpx
import pytest

from shared.metrics.catalogue import specs
from shared.status import IDENTITIES
from tests.support.burst import Publisher
from tests.support.eventually import eventually
from tests.support.mosquitto import Mosquitto
from tests.support.pipeline import Pipeline
from tests.support.ports import HOST, free_port
from tests.support.processes import HeadraceProcess
from tests.support.scraping import Asked, Scrape
from tests.support.valkey import ValkeyServer
from tests.support.workspaces import trigger_yaml, write_workspace

SCRIPTS = {
    "good": "import headrace\ndef main(payload: bytes):\n    headrace.publish('out', payload)\n",
    "bad": "def main(payload: bytes):\n    raise ValueError('too hot')\n",
    "dies": "import os\ndef main(payload: bytes):\n    os.abort()\n",
}
RETRY = "retry:\n  constant:\n    attempts: 1\n    seconds: 0\n"
GOOD, BAD = 300, 5


class Plant:
    """All processes, two workers among them, on ports of the test's own."""

    def __init__(self, folder: Path, valkey: ValkeyServer, broker: Mosquitto, **env: str) -> None:
        first, console = free_port(), free_port()
        self.pipeline = Pipeline(
            folder, valkey.url, HEADRACE_METRICS__PORT=str(first), HEADRACE_CONSOLE__PORT=str(console), **env
        )
        triggers = {
            "good": trigger_yaml("good", ("secret-topic/good/+", 2), extra=""),
            "bad": trigger_yaml("bad", ("secret-topic/bad", 1), extra=RETRY),
            "dies": trigger_yaml("dies", ("secret-topic/dies", 2)),
        }
        self.pipeline.push(write_workspace(folder / "workspace", broker.port, triggers, SCRIPTS))
        self.labels = ["ingest", "dispatch", "worker", "worker-2", "console"]
        self.asked = {
            "ingest": Asked(first), "dispatch": Asked(first + 100), "worker": Asked(first + 200),
            "worker-2": Asked(first + 201), "console": Asked(console),
        }  # fmt: skip

    def start(self) -> Self:
        """Start all, and wait until everything works."""
        self.pipeline.start(*self.labels)
        for label in self.labels:
            self.pipeline.processes[label].wait_ready(60)
        self.pipeline.wait_connected("f/t/good", "f/t/bad", "f/t/dies", timeout_s=60)
        return self

    def scrape(self) -> dict[str, Scrape]:
        """All of them."""
        return {label: asked.metrics() for label, asked in self.asked.items()}

    def workers(self, name: str, **labels: str) -> float:
        """A figure of both workers together."""
        return sum(self.asked[label].metrics().sum(name, **labels) for label in ("worker", "worker-2"))


@pytest.fixture
def plant(tmp_path: Path, own_valkey: ValkeyServer, mosquitto: Mosquitto) -> Iterator[Plant]:
    """A plant that works."""
    plant = Plant(tmp_path, own_valkey, mosquitto)
    try:
        yield plant.start()
    finally:
        plant.pipeline.close()


def test_every_leg_of_every_message_is_measured_and_the_books_can_be_checked(
    plant: Plant, mosquitto: Mosquitto
) -> None:
    """Counts agree between the processes; nothing that a message brings along becomes a label."""
    publisher = Publisher(mosquitto.port)
    publisher.publish("secret-topic/good/north", (f"secret-payload {number}" for number in range(GOOD)), 2)
    publisher.publish("secret-topic/bad", (str(number) for number in range(BAD)), 1)
    publisher.publish("secret-topic/dies", ["x"], 2)
    publisher.close()
    console = plant.asked["console"]
    ended = {"succeeded": GOOD, "failed": BAD, "interrupted": 1}
    eventually(lambda: ended.items() <= console.metrics().by("headrace_runs", "state").items(), 60, 0.2)
    eventually(lambda: console.metrics().sum("headrace_publishes_unsent") == 0, 60, 0.2)
    found = plant.scrape()

    _check_books(found["console"])
    assert found["console"].sum("headrace_publishes_sent_total") == GOOD
    assert found["ingest"].sum("headrace_publish_seconds_count", trigger="f/t/good") == GOOD
    assert found["console"].by("headrace_messages_received_total", "trigger") == {
        "f/t/good": GOOD, "f/t/bad": BAD, "f/t/dies": 1,
    }  # fmt: skip
    counted = {
        "ingest": ("headrace_message_admit_seconds_count", GOOD),
        "dispatch": ("headrace_message_place_seconds_count", GOOD),
    }
    assert {label: found[label].sum(name, trigger="f/t/good") for label, (name, _) in counted.items()} == {
        label: times for label, (_, times) in counted.items()
    }
    for name in ("headrace_run_wait", "headrace_run_execution", "headrace_message_end_to_end"):
        assert plant.workers(f"{name}_seconds_count", trigger="f/t/good") == GOOD
    assert plant.workers("headrace_run_attempts_total", trigger="f/t/bad", outcome="retry") == BAD
    assert plant.workers("headrace_run_attempts_total", trigger="f/t/bad", outcome="failed") == BAD
    assert plant.workers("headrace_message_end_to_end_seconds_count", trigger="f/t/bad") == BAD
    assert plant.workers("headrace_runner_deaths_total", cause="crashed") == 1
    assert plant.workers("headrace_runner_starts_total", language="python3") >= 3
    assert found["console"].sum("headrace_dead_letters") == BAD + 1
    assert found["console"].sum("headrace_session_state", state="connected") == 3
    assert found["console"].sum("headrace_session_state") == 3
    assert found["console"].sum("headrace_workers") == 2
    assert all("secret-" not in scrape.text for scrape in found.values())


def test_what_is_told_is_what_the_reference_lists(plant: Plant) -> None:
    """Each with its type and its labels, by the processes that it names, and by no other."""
    by_name = {spec.name: spec for spec in specs()}
    for label, scrape in plant.scrape().items():
        process = label.partition("-")[0]
        ours = [each for each in scrape.samples if each.name.startswith("headrace_")]
        for sample in ours:
            name = sample.name
            if name not in by_name:
                name = name.rpartition("_")[0]
            spec = by_name[name]
            assert process in spec.by
            assert set(sample.labels) - {"le"} == set(spec.labels)
            assert scrape.types[name.removesuffix("_total")] == spec.kind
        assert scrape.sum("headrace_build_info", process=process) == 1
        assert scrape.sum("headrace_ready") == 1
        assert scrape.sum("process_resident_memory_bytes") > 0
    assert plant.asked["ingest"].get("/metrics", Accept="application/openmetrics-text").text.endswith("# EOF\n")
    assert plant.asked["worker"].get("/").status_code == 404
    assert [httpx.head(plant.asked[label].url("/readyz")).status_code for label in plant.labels[:4]] == [200] * 4


def test_without_redis_no_process_is_ready_and_every_one_lives_and_is_ready_again(
    plant: Plant, own_valkey: ValkeyServer
) -> None:
    """A balancer takes them out and back; a supervisor has no reason to end them."""
    assert {label: asked.ready() for label, asked in plant.asked.items()} == dict.fromkeys(plant.labels, (200, []))
    own_valkey.kill9()
    for asked in plant.asked.values():
        _, reasons = eventually(lambda asked=asked: found if (found := asked.ready())[0] == 503 else None, 20)  # type: ignore[misc]
        assert "Redis" in reasons[0]
        assert asked.get("/healthz").status_code == 200
        assert asked.metrics().sum("headrace_ready") == 0
    assert plant.asked["console"].metrics().sum("headrace_redis_up") == 0
    own_valkey.start()
    for asked in plant.asked.values():
        eventually(lambda asked=asked: asked.ready() == (200, []), 30)  # type: ignore[misc]
        assert asked.metrics().sum("headrace_redis_outages_total") >= 1


def test_a_redis_that_hangs_is_no_redis(plant: Plant, own_valkey: ValkeyServer) -> None:
    """Its connections stay open, and nothing answers."""
    own_valkey.sigstop()
    try:
        for label in ("ingest", "worker", "dispatch"):
            assert eventually(lambda label=label: plant.asked[label].ready()[0] == 503, 40)  # type: ignore[misc]
    finally:
        own_valkey.sigcont()
    for asked in plant.asked.values():
        eventually(lambda asked=asked: asked.ready() == (200, []), 40)  # type: ignore[misc]


def test_a_broker_that_is_gone_shows_in_state_and_counters(plant: Plant, mosquitto: Mosquitto) -> None:
    """And so does its return. The process itself is ready: it does what can be done."""
    mosquitto.kill9()
    console, ingest = plant.asked["console"], plant.asked["ingest"]
    eventually(lambda: console.metrics().sum("headrace_session_state", state="reconnecting") == 3, 20)
    assert ingest.metrics().sum("headrace_session_failures_total", state="reconnecting") >= 3
    assert ingest.ready() == (200, [])
    mosquitto.start()
    eventually(lambda: console.metrics().sum("headrace_session_state", state="connected") == 3, 30)
    assert ingest.metrics().by("headrace_session_connects_total", "trigger").keys() == {
        "f/t/good", "f/t/bad", "f/t/dies",
    }  # fmt: skip


def test_a_port_in_use_is_passed_over(own_valkey: ValkeyServer, headrace: Callable[..., HeadraceProcess]) -> None:
    """The next one is taken, and named on the ready line."""
    first = free_port()
    with socket.socket() as taken:
        taken.bind((HOST, first + 100))
        taken.listen()
        process = headrace("dispatch", REDIS_URL=own_valkey.url, HEADRACE_METRICS__PORT=str(first)).wait_ready()
        assert f"url=http://{HOST}:{first + 101}" in process.output
        assert Asked(first + 101).ready() == (200, [])


def test_where_nothing_can_be_listened_on_the_process_works_and_says_so(
    own_valkey: ValkeyServer, headrace: Callable[..., HeadraceProcess]
) -> None:
    """An address that is not this machine's, from the range that is nobody's."""
    env = {"HEADRACE_METRICS__HOST": "192.0.2.1", "HEADRACE_METRICS__TOKEN": "secret"}
    process = headrace("worker", REDIS_URL=own_valkey.url, **env).wait_ready()
    assert "metrics.unavailable" in process.output
    assert "secret" not in process.output
    assert process.sigterm() == 0


def test_a_token_guards_the_metrics_and_health_is_for_everybody(
    tmp_path: Path, own_valkey: ValkeyServer, mosquitto: Mosquitto
) -> None:
    """Of the console as well, without a login."""
    plant = Plant(tmp_path, own_valkey, mosquitto, HEADRACE_METRICS__TOKEN="a-long-secret")
    try:
        for asked in plant.start().asked.values():
            assert asked.get("/metrics").status_code == 401
            assert asked.get("/metrics", Authorization="Bearer a-long-secret").status_code == 200
            assert (asked.get("/healthz").status_code, asked.get("/readyz").status_code) == (200, 200)
    finally:
        plant.pipeline.close()


def test_port_0_turns_it_off(own_valkey: ValkeyServer, headrace: Callable[..., HeadraceProcess]) -> None:
    """No listener, no address on the ready line."""
    process = headrace("dispatch", REDIS_URL=own_valkey.url, HEADRACE_METRICS__PORT="0").wait_ready()
    assert "url=" not in process.output


def _check_books(scrape: Scrape) -> None:
    """The three identities, for each trigger, out of what was exported alone."""
    for trigger in scrape.by("headrace_messages_received_total", "trigger"):
        received = scrape.sum("headrace_messages_received_total", trigger=trigger)
        assert received == scrape.sum("headrace_messages_admission_total", trigger=trigger)
        admitted = scrape.sum("headrace_messages_admission_total", trigger=trigger, outcome="admitted")
        names = ("headrace_messages_placed_total", "headrace_messages_repeated_total", "headrace_messages_unplaced")
        assert admitted == sum(scrape.sum(name, trigger=trigger) for name in names)
        assert scrape.sum("headrace_runs_placed_total", trigger=trigger) == scrape.sum("headrace_runs", trigger=trigger)
        ends = ("headrace_publishes_sent_total", "headrace_publishes_unsent")
        assert scrape.sum("headrace_publishes_total", trigger=trigger) == sum(
            scrape.sum(name, trigger=trigger) for name in ends
        )
    assert scrape.by("headrace_books_balanced", "identity") == dict.fromkeys(IDENTITIES, 1)
