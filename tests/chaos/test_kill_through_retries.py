"""Invariant: through kill -9 of workers each attempt counts once, no run is lost, and who fails has one handler run."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
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
KILLS = 14
WORKERS = ("worker", "worker-2", "worker-3")
RETRIES = 4
RETRIED = b"4"
"""RQ's type of the result of an attempt that another one follows."""

FAILING = """\
import fcntl
import time

import headrace


def main(payload: bytes):
    run, times = headrace.run.id, int(payload.split()[0])
    with open("@LOG@", "a+") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        log.seek(0)
        failed = log.read().count(f"failed {run}\\n")
        if failed < times:
            log.write(f"failed {run}\\n")
        else:
            log.write(f"done {run}\\n")
    time.sleep(0.02)
    if failed < times:
        raise ValueError(f"{failed + 1} of {times}")
"""
"""Fails as often as the message says, by what is in the file, notes each execution in one write, and takes a while."""

HANDLER = """\
def main(job_id, error):
    with open("@LOG@", "a") as log:
        log.write(f"handled {job_id}\\n")
"""

POLICY = f"""\
retry:
  constant: {{attempts: {RETRIES - 1}, seconds: 1}}
  exponential: {{attempts: 1, seconds: 1}}
error_handler_path: f/t/on_error
"""


class Chaos:
    """Two triggers under load, workers that die, and what really ran according to the scripts themselves."""

    def __init__(self, folder: Path, valkey: ValkeyServer, mosquitto: Mosquitto) -> None:
        self.log = folder / "executed"
        self.log.touch()
        self.store = Store.connect(valkey.url)
        self.pipeline = Pipeline(folder, valkey.url)
        self.random = random.Random(11)
        self.mosquitto = mosquitto
        workspace = write_workspace(
            folder / "workspace",
            mosquitto.port,
            {f"q{qos}": trigger_yaml("failing", (f"chaos/q{qos}", qos), extra=POLICY) for qos in (1, 2)},
            {
                "failing": FAILING.replace("@LOG@", str(self.log)),
                "on_error": HANDLER.replace("@LOG@", str(self.log)),
            },
        )
        self.pipeline.push(workspace)
        self.pipeline.start("ingest", "dispatch", *WORKERS)
        self.pipeline.wait_connected("f/t/q1", "f/t/q2")

    def publish(self) -> None:
        """Messages that ask for 0, 2, or more failures than there are retries."""
        publisher = Publisher(self.mosquitto.port)
        for qos in (1, 2):
            publisher.publish(f"chaos/q{qos}", [f"{(0, 2, 99)[n % 3]} {n}" for n in range(MESSAGES)], qos)
        publisher.close()

    def kill_workers(self) -> None:
        """Again and again, whichever it is."""
        for _ in range(KILLS):
            victim = self.random.choice(WORKERS)
            self.pipeline.kill(victim)
            self.pipeline.start(victim)
            time.sleep(self.random.uniform(0.2, 0.8))

    def cells(self) -> Counter[str]:
        """The books of both triggers."""
        found: Counter[str] = Counter()
        for qos in (1, 2):
            cells = self.store.command("HGETALL", keys.counters(f"f/t/q{qos}"))
            found += Counter({name.decode(): int(count) for name, count in cells.items()})
        return found

    def settled(self) -> bool:
        """Nothing is under way, and nobody waits for a handler."""
        waiting = self.store.commands(
            [("LLEN", keys.RQ_QUEUE), ("ZCARD", keys.RQ_SCHEDULED), ("ZCARD", keys.RQ_STARTED), ("LLEN", keys.HANDLERS)]
        )
        cells = self.cells()
        live = cells["inbox"] + cells["queued"] + cells["scheduled"] + cells["running"]
        return cells["runs"] >= 2 * MESSAGES and not live and not any(waiting)


@pytest.fixture
def chaos(tmp_path: Path, own_valkey: ValkeyServer, mosquitto: Mosquitto) -> Iterator[Chaos]:
    """A running pipeline with three workers."""
    made = Chaos(tmp_path, own_valkey, mosquitto)
    yield made
    made.pipeline.close()


@pytest.mark.timeout(120)
def test_retries_and_error_handlers_survive_the_death_of_workers(chaos: Chaos) -> None:
    """Redis and the scripts' own notes tell the same story."""
    chaos.publish()
    chaos.kill_workers()
    eventually(chaos.settled, timeout_s=60, interval_s=0.5)

    noted = Counter(chaos.log.read_text().splitlines())
    runs = chaos.pipeline.runs("--trigger", "f/t/q1") + chaos.pipeline.runs("--trigger", "f/t/q2")
    assert len(runs) >= 2 * MESSAGES, "no run is lost"
    for run in runs:
        check_run(chaos.store, run["id"], noted)
    status = chaos.pipeline.status()
    assert all(identity["holds"] for identity in status["identities"]), status["identities"]
    registries = next(line for line in chaos.pipeline.headrace("doctor").splitlines() if "registries" in line)
    assert "agree" in registries


def check_run(store: Store, run_id: str, noted: Counter[str]) -> None:
    """One run: its state, its attempts by reason, and its handler."""
    names = ("state", "attempts", "retries", "crashes")
    state, *numbers = store.command("HMGET", keys.job(run_id), *names)
    attempts, retries, crashes = (int(number or 0) for number in numbers)
    failed, done = noted[f"failed {run_id}"], noted[f"done {run_id}"]
    last = 1 if state in {b"succeeded", b"failed"} and not (state == b"failed" and crashes >= 3) else 0
    assert attempts == retries + crashes + last, "each attempt counts once, as a retry, a crash, or the last"
    assert retries <= RETRIES, "the policy is kept"
    assert retries <= failed <= attempts, "a retry follows a failure, and code runs only where a start was recorded"
    assert done <= 1 or run_id.startswith("q1"), "QoS 2: what has been done is not done again"
    if state == b"failed":
        assert retries == RETRIES or crashes >= 3, "it has failed only after the last retry"
    if run_id.startswith("q2"):
        assert state in {b"succeeded", b"failed", b"interrupted"}
        assert crashes == (1 if state == b"interrupted" else 0)
    check_schedule(store, run_id)
    ended_badly = state in {b"failed", b"interrupted"}
    handler = store.command("HGET", keys.job(f"q2-{run_id[3:]}-eh"), "state")
    assert (handler is not None) == ended_badly, "one handler run for each run that has failed, and for no other"
    handled = noted[f"handled {run_id}"]
    assert handled == 1 if handler == b"succeeded" else handled <= 1, "and its code runs at most once"


def check_schedule(store: Store, run_id: str) -> None:
    """No retry comes before its time, whoever has died meanwhile."""
    entries = [fields for _, fields in store.command("XRANGE", keys.results(run_id), "-", "+")]
    for before, after in pairwise(entries):
        if before[b"type"] == RETRIED:
            ended_at, started_at = (
                datetime.fromisoformat(text.decode()) for text in (before[b"ended_at"], after[b"started_at"])
            )
            assert started_at - ended_at >= timedelta(seconds=1), "the schedule is kept"
