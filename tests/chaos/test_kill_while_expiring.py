"""Invariant: while workers and dispatchers die by kill -9, what has expired never begins, and all is counted once."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared import keys
from shared.store import Store
from tests.support.burst import Publisher
from tests.support.eventually import eventually
from tests.support.mosquitto import Mosquitto
from tests.support.pipeline import Pipeline
from tests.support.valkey import ValkeyServer
from tests.support.workspaces import trigger_yaml, write_workspace

MESSAGES = 150
FEW = 5
AGE_S = 12
PROCESSES = ("worker", "worker-2", "dispatch")
SLOW = """\
import time

import headrace


def main(payload: bytes):
    with open("@LOG@", "a") as log:
        log.write(f"{headrace.run.id} {int(1000 * (time.time() - headrace.run.received_at.timestamp()))}\\n")
    time.sleep(0.05)
"""
"""Notes each execution in one write, and how old its message was."""
SLACK_MS = 5000
"""A run is claimed before it expires, and begins a little later: longer here, where everything is being killed."""


@pytest.fixture
def pipeline(tmp_path: Path, own_valkey: ValkeyServer) -> Iterator[Pipeline]:
    """Processes that end with the test."""
    made = Pipeline(tmp_path, own_valkey.url)
    yield made
    made.close()


@pytest.mark.timeout(120)
def test_what_expires_while_processes_die_is_counted_once_and_never_begins(
    pipeline: Pipeline, own_valkey: ValkeyServer, mosquitto: Mosquitto
) -> None:
    """In the inbox while nobody dispatches, in the queue while the workers cannot keep up."""
    log = pipeline.folder / "executed"
    log.touch()
    triggers = {
        f"q{qos}": trigger_yaml("slow", (f"chaos/q{qos}", qos), extra=f"max_age_s: {AGE_S}\n") for qos in (1, 2)
    }
    pipeline.push(
        write_workspace(pipeline.folder / "ws", mosquitto.port, triggers, {"slow": SLOW.replace("@LOG@", str(log))})
    )
    store, chance = Store.connect(own_valkey.url), random.Random(5)
    pipeline.start("ingest", *PROCESSES)
    pipeline.wait_connected("f/t/q1", "f/t/q2")
    for process in PROCESSES:
        pipeline.processes[process].wait_ready()
    publisher = Publisher(mosquitto.port)
    for qos in (1, 2):
        publisher.publish(f"chaos/q{qos}", [str(n) for n in range(MESSAGES)], qos)
    for count in (FEW, 3 * FEW):
        wait_until_more_have_begun(log, count)
        for victim in chance.sample(PROCESSES, 2):
            pipeline.kill(victim)
        pipeline.restart_dead()
    wait_until_more_have_begun(log, 1)
    for victim in PROCESSES:
        pipeline.kill(victim)
    for qos in (1, 2):
        publisher.publish(f"chaos/q{qos}", [str(n) for n in range(MESSAGES)], qos)
    publisher.close()
    until = int(store.command("TIME")[0]) + AGE_S
    eventually(lambda: int(store.command("TIME")[0]) > until, timeout_s=2 * AGE_S)
    pipeline.restart_dead()
    eventually(lambda: settled(store), timeout_s=60, interval_s=0.5)

    executed = [line.split() for line in log.read_text().splitlines()]
    runs = pipeline.runs("--trigger", "f/t/q1") + pipeline.runs("--trigger", "f/t/q2")
    states = {run["id"]: run["state"] for run in runs}
    cells = Counter(states.values())
    total = Counter(
        {name: books(store, "f/t/q1")[name] + books(store, "f/t/q2")[name] for name in ("expired", "succeeded", "runs")}
    )
    assert total["succeeded"] == cells["succeeded"] > 0
    assert total["expired"] >= cells["expired"], "those that expired in the inbox have no record"
    assert total["runs"] >= 4 * MESSAGES
    assert total["expired"] >= MESSAGES
    assert not [run_id for run_id, _ in executed if states[run_id] == "expired"], "what has expired never began"
    begun = Counter(run_id for run_id, _ in executed)
    late = [(run_id, age) for run_id, age in executed if int(age) > AGE_S * 1000 + SLACK_MS and begun[run_id] == 1]
    assert not late, "nothing began for the first time long after its time"
    assert all(identity["holds"] for identity in pipeline.status()["identities"])


def books(store: Store, trigger: str) -> Counter[str]:
    """The cells of a trigger."""
    cells = store.command("HGETALL", keys.counters(trigger))
    return Counter({name.decode(): int(count) for name, count in cells.items()})


def wait_until_more_have_begun(log: Path, count: int) -> None:
    """Until so many more have been executed."""
    goal = len(log.read_text().splitlines()) + count
    eventually(lambda: len(log.read_text().splitlines()) >= goal, timeout_s=20)


def settled(store: Store) -> bool:
    """Nothing is under way."""
    found = books(store, "f/t/q1") + books(store, "f/t/q2")
    return found["runs"] >= 4 * MESSAGES and not any(found[cell] for cell in ("inbox", "queued", "running"))
