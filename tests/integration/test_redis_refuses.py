"""Redis that answers and refuses (full, read-only, too few replicas, emptied) is waited for; no process ends of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared import keys
from shared.store import Store
from tests.support.burst import Publisher
from tests.support.eventually import eventually
from tests.support.factories import counters
from tests.support.mosquitto import Mosquitto
from tests.support.pipeline import Pipeline
from tests.support.valkey import ValkeyServer
from tests.support.workspaces import trigger_yaml, write_workspace

TRIGGER = "f/t/q2"
PROCESSES = ("ingest", "dispatch", "worker")


@pytest.fixture
def pipeline(tmp_path: Path, own_valkey: ValkeyServer, mosquitto: Mosquitto) -> Iterator[Pipeline]:
    """Running, with a QoS 2 trigger."""
    made = Pipeline(tmp_path, own_valkey.url)
    workspace = write_workspace(
        tmp_path / "workspace",
        mosquitto.port,
        {"q2": trigger_yaml("noop", ("refused/#", 2))},
        {"noop": "def main():\n    return None\n"},
    )
    made.push(workspace)
    made.start(*PROCESSES)
    made.wait_connected(TRIGGER)
    yield made
    made.close()


@pytest.mark.parametrize(
    "refuse, relent",
    [
        (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
        (("CONFIG", "SET", "min-replicas-to-write", "1"), ("CONFIG", "SET", "min-replicas-to-write", "0")),
    ],
    ids=["full", "read-only", "too few replicas"],
)
def test_what_redis_refuses_for_now_is_done_later_and_once(
    pipeline: Pipeline,
    own_valkey: ValkeyServer,
    mosquitto: Mosquitto,
    refuse: tuple[str, ...],
    relent: tuple[str, ...],
) -> None:
    """Messages before, during and after; every process is the same one in the end.

    While ingest is refused, nothing new comes to dispatch: it gets entries before that, and time to place them after.
    """
    store = Store.connect(own_valkey.url)
    publisher = Publisher(mosquitto.port)
    pids = {label: process.pid for label, process in pipeline.processes.items()}
    publisher.publish("refused/before", ["1"] * 200, 2)
    pipeline.processes["dispatch"].sigstop()
    publisher.publish("refused/waiting", ["1"] * 200, 2)
    eventually(lambda: counters(store, TRIGGER).get("admitted", 0) == 400, timeout_s=60)
    store.command(*refuse)
    pipeline.processes["dispatch"].sigcont()
    publisher.publish("refused/during", ["1"] * 200, 2)
    eventually(lambda: all("store.unavailable" in pipeline.processes[label].output for label in PROCESSES), 60)
    store.command(*relent)
    publisher.publish("refused/after", ["1"] * 200, 2)
    eventually(lambda: counters(store, TRIGGER).get("succeeded", 0) == 800, timeout_s=60)

    assert {label: process.pid for label, process in pipeline.processes.items() if process.running} == pids
    cells = counters(store, TRIGGER)
    assert (cells["runs"], cells["received"] - cells.get("duplicate", 0)) == (800, 800)
    assert store.command("LLEN", keys.RQ_QUEUE) == store.command("XLEN", keys.INBOX) == 0
    publisher.close()
    store.close()


@pytest.mark.usefixtures("pipeline")
def test_dispatch_goes_on_when_its_consumer_group_is_gone(own_valkey: ValkeyServer, mosquitto: Mosquitto) -> None:
    """As after FLUSHALL, or when an older dump was restored."""
    store = Store.connect(own_valkey.url)
    publisher = Publisher(mosquitto.port)
    store.command("XGROUP", "DESTROY", keys.INBOX, keys.GROUP)
    publisher.publish("refused/after", ["1"] * 10, 2)

    eventually(lambda: counters(store, TRIGGER).get("succeeded", 0) == 10, timeout_s=20)
    publisher.close()
    store.close()
