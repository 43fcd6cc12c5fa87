"""Invariant: dead letters re-driven while workers are killed with -9 run once more, however often it is asked for."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared import keys
from shared.scripts import worker as verbs
from shared.scripts.worker import Ending, Limits
from shared.store import Store
from tests.support.eventually import eventually
from tests.support.factories import NOW_ISO, counters
from tests.support.pipeline import Pipeline
from tests.support.valkey import ValkeyServer
from tests.support.workers import deploy, queue_runs, states

LETTERS = 1000
KILLS = 8
WORKERS = ("worker", "worker-2")


@pytest.fixture
def store(own_valkey: ValkeyServer) -> Iterator[Store]:
    """A store on a server of the test's own."""
    made = Store.connect(own_valkey.url)
    yield made
    made.close()


@pytest.fixture
def pipeline(own_valkey: ValkeyServer, tmp_path: Path) -> Iterator[Pipeline]:
    """Two workers on that server."""
    made = Pipeline(tmp_path, own_valkey.url)
    yield made
    made.close()


def bury(store: Store, version: str) -> list[str]:
    """Runs of QoS 1 and 2 by turns that have failed, as a worker records it; their ids."""
    ids = [f"q{1 + n % 2}-s-1-{n}" for n in range(LETTERS)]
    queue_runs(store, version, *ids)
    store.run(verbs.beat("w1", 60_000))
    while claims := store.run(verbs.claim("w1", f"w1-{time.monotonic_ns()}", 500, 1 << 24)).claims:
        store.run(verbs.start("w1", NOW_ISO, claims))
        endings = [Ending(claim.run_id, claim.execution, "failed", error='{"name":"E"}') for claim in claims]
        store.run(verbs.finish("w1", NOW_ISO, time.time_ns() // 1_000_000, Limits(3, LETTERS), 1.0, endings))
    return ids


def redrive_twice(pipeline: Pipeline) -> list[threading.Thread]:
    """Two people ask for the same at the same moment."""
    command = ("dead", "retry", "--all", "--yes")
    threads = [threading.Thread(target=pipeline.headrace, args=command) for _ in range(2)]
    for thread in threads:
        thread.start()
    return threads


def wait_for_more(journal: Path, count: int) -> None:
    """Until so many more have begun."""
    goal = len(journal.read_text().split()) + count
    eventually(lambda: len(journal.read_text().split()) >= goal, timeout_s=20)


def live(store: Store, ids: list[str]) -> int:
    """How many of the runs have not ended."""
    found = Counter(states(store, *ids))
    return found["queued"] + found["running"]


@pytest.mark.timeout(120)
def test_a_thousand_dead_letters_are_each_run_once_more(store: Store, pipeline: Pipeline, tmp_path: Path) -> None:
    """At QoS 2 at most once; what a kill interrupts is a dead letter again, and one more command runs it."""
    journal = tmp_path / "journal"
    journal.touch()
    source = f"""
        import headrace, time
        def main(payload):
            with open({str(journal)!r}, "a") as file:
                file.write(headrace.run.id + "\\n")
            time.sleep(0.005)
        """
    ids = bury(store, deploy(store, source))
    books = counters(store)
    chance = random.Random(7)
    pipeline.start(*WORKERS)
    threads = redrive_twice(pipeline)
    for _ in range(KILLS):
        wait_for_more(journal, chance.randrange(20, LETTERS // KILLS))
        victim = chance.choice(WORKERS)
        pipeline.kill(victim)
        pipeline.start(victim)
    for thread in threads:
        thread.join()
    eventually(lambda: live(store, ids) == 0, timeout_s=40, interval_s=0.2)

    ended = dict(zip(ids, states(store, *ids), strict=True))
    executed = Counter(journal.read_text().split())
    dead = {each.decode() for each in store.command("ZRANGE", keys.DEAD, 0, -1)}
    assert set(ended.values()) <= {"succeeded", "interrupted", "failed"}
    assert all(executed[run_id] == 1 for run_id in ids if run_id[1] == "2" and ended[run_id] == "succeeded")
    assert all(executed[run_id] <= 1 for run_id in ids if run_id[1] == "2")
    assert all(executed[run_id] >= 1 for run_id in ids if ended[run_id] == "succeeded")
    assert dead == {run_id for run_id in ids if ended[run_id] != "succeeded"}

    for thread in redrive_twice(pipeline):
        thread.join()
    eventually(lambda: set(states(store, *ids)) == {"succeeded"}, timeout_s=30, interval_s=0.2)
    again = Counter(journal.read_text().split())
    assert all(again[run_id] - executed[run_id] == (run_id in dead) for run_id in ids)
    after = counters(store)
    assert {cell: after.get(cell, 0) for cell in books if cell != "late"} == books
    assert all(identity["holds"] for identity in pipeline.status()["identities"])
