"""Invariant: through kill -9, what QoS 2 runs publish makes one run each further on, and failures publish nothing."""

from __future__ import annotations

import random
import time
from collections import Counter
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

MESSAGES = 600
KILLS = 16
PROCESSES = ("ingest", "ingest-2", "dispatch", "worker", "worker-2")
FAILS = 7
"""Every so many-th message fails after it has said something."""

FIRST = """\
import time

import headrace


def main(payload: bytes):
    number = int(payload)
    headrace.publish(f"second/{number % 10}", f"{number} {headrace.run.id}")
    time.sleep(0.005)
    if number % @FAILS@ == 0:
        raise ValueError(number)
    return number
""".replace("@FAILS@", str(FAILS))
SECOND = """\
def main(payload: bytes):
    with open("@LOG@", "a") as log:
        log.write(payload.decode() + "\\n")
"""


class Chaos:
    """Two triggers in a row: what the runs of the first publish are the messages of the second."""

    def __init__(self, folder: Path, valkey: ValkeyServer, mosquitto: Mosquitto) -> None:
        self.log = folder / "executed"
        self.log.touch()
        self.store = Store.connect(valkey.url)
        self.pipeline = Pipeline(folder, valkey.url)
        self.random = random.Random(23)
        self.mosquitto = mosquitto
        triggers = {
            "first": trigger_yaml("first", ("first/#", 2)),
            "second": trigger_yaml("second", ("second/#", 1)),
        }
        scripts = {"first": FIRST, "second": SECOND.replace("@LOG@", str(self.log))}
        self.pipeline.push(write_workspace(folder / "workspace", mosquitto.port, triggers, scripts))
        self.pipeline.start(*PROCESSES)
        self.pipeline.wait_connected("f/t/first", "f/t/second")

    def publish(self) -> None:
        """All messages at once."""
        publisher = Publisher(self.mosquitto.port)
        publisher.publish("first/a", [str(n) for n in range(MESSAGES)], 2)
        publisher.close()

    def kill(self) -> None:
        """Again and again, whichever it is."""
        for _ in range(KILLS):
            victim = self.random.choice(PROCESSES)
            self.pipeline.kill(victim)
            self.pipeline.start(victim)
            time.sleep(self.random.uniform(0.2, 0.7))

    def settled(self) -> bool:
        """Nothing is under way, nor waits to be published, and all has been received."""
        first, second = counters(self.store, "f/t/first"), counters(self.store, "f/t/second")
        live = sum(cells.get(cell, 0) for cells in (first, second) for cell in ("inbox", "queued", "running", "outbox"))
        everything = first.get("runs", 0) == MESSAGES and second.get("received", 0) >= first.get("sent", 0) > 0
        return everything and not live and not self.store.command("ZCARD", keys.RQ_STARTED)


@pytest.fixture
def chaos(tmp_path: Path, own_valkey: ValkeyServer, mosquitto: Mosquitto) -> Iterator[Chaos]:
    """A running pipeline with two of what can be had twice."""
    made = Chaos(tmp_path, own_valkey, mosquitto)
    yield made
    made.pipeline.close()


@pytest.mark.timeout(180)
def test_what_is_published_is_run_once_through_the_death_of_everything(chaos: Chaos) -> None:
    """By the idempotency key of each message, which the next trigger remembers. QoS 1 may start code again."""
    chaos.publish()
    chaos.kill()
    eventually(chaos.settled, timeout_s=90, interval_s=0.5)

    first = chaos.pipeline.runs("--trigger", "f/t/first")
    second = chaos.pipeline.runs("--trigger", "f/t/second")
    good = {f"{run['result']} {run['id']}" for run in first if run["state"] == "succeeded"}
    noted = Counter(chaos.log.read_text().splitlines())
    assert set(noted) == good, "who succeeded has published, and nobody else"
    assert len(second) == len(good), "each message makes one run, however often it was published"
    assert {run["state"] for run in second} == {"succeeded"}
    again = sum(run["attempts"] - 1 for run in second)
    assert noted.total() - len(noted) <= again, "code runs again only where its worker died"
    cells = counters(chaos.store, "f/t/first")
    assert cells["said"] == cells["sent"] == len(good)
    assert all(identity["holds"] for identity in chaos.pipeline.status()["identities"])
