"""What becomes of runs whose worker or runner dies, by QoS and by how far they had come."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from shared import keys
from shared.scripts import worker as verbs
from shared.scripts.worker import Claim
from shared.store import Store
from tests.support.eventually import eventually
from tests.support.factories import NOW_ISO, counters
from tests.support.processes import HeadraceProcess
from tests.support.workers import (
    FAST,
    Journal,
    attempts,
    claims_left,
    deploy,
    last_attempt,
    queue_runs,
    states,
)

RUNS = ("q0-s-1-1", "q1-s-1-2", "q2-s-1-3")
STALLED = "stalled"
SHORT_MS = 100


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """What the scripts of this test execute."""
    return Journal(tmp_path)


@pytest.fixture
def start_worker(headrace: Callable[..., HeadraceProcess], redis_url: str) -> Callable[[], HeadraceProcess]:
    """Starts a worker."""
    return lambda: headrace("worker", REDIS_URL=redis_url, **FAST)


def claim_all(store: Store) -> list[Claim]:
    """Claim everything as a worker that then says nothing more."""
    store.run(verbs.beat(STALLED, SHORT_MS))
    return store.run(verbs.claim(STALLED, f"{STALLED}-1", 100, 1 << 20)).claims


def runner_of(worker: HeadraceProcess) -> psutil.Process:
    """The worker's only child."""
    (child,) = psutil.Process(worker.pid).children()
    return child


def test_what_a_dead_worker_had_only_claimed_is_executed_by_another_unless_qos_0(
    store: Store, start_worker: Callable[[], HeadraceProcess], journal: Journal
) -> None:
    """A claim is not a start."""
    queue_runs(store, deploy(store, journal.source), *RUNS)
    claim_all(store)
    start_worker()

    eventually(lambda: states(store, *RUNS) == ["lost", "succeeded", "succeeded"])
    assert sorted(journal.executed()) == ["q1-s-1-2", "q2-s-1-3"]
    assert [attempts(store, run_id) for run_id in RUNS[1:]] == [1, 1]
    assert claims_left(store) == 0


def test_what_a_dead_worker_had_started_follows_the_crash_policy(
    store: Store, start_worker: Callable[[], HeadraceProcess], journal: Journal
) -> None:
    """QoS 0 lost, QoS 1 again, QoS 2 interrupted and among the dead letters."""
    queue_runs(store, deploy(store, journal.source), *RUNS)
    store.run(verbs.start(STALLED, NOW_ISO, claim_all(store)))
    start_worker()

    eventually(lambda: states(store, *RUNS) == ["lost", "succeeded", "interrupted"])
    assert journal.executed() == ["q1-s-1-2"]
    assert attempts(store, "q1-s-1-2") == 2
    assert store.command("ZRANGE", keys.DEAD, 0, -1) == [b"q2-s-1-3"]
    assert last_attempt(store, "q2-s-1-3")["error"]["name"] == "WorkerDied"


def test_workers_killed_while_the_code_runs_leave_it_to_the_crash_policy(
    store: Store, start_worker: Callable[[], HeadraceProcess], journal: Journal
) -> None:
    """Kill -9: the runner dies with its worker, and only QoS 1 starts again."""
    queue_runs(store, deploy(store, journal.source), *RUNS, payload=b"hold")
    victims = [start_worker() for _ in RUNS]
    eventually(lambda: sorted(journal.executed()) == list(RUNS))
    runners = [runner_of(victim) for victim in victims]
    for victim in victims:
        victim.kill9()
    eventually(lambda: not any(runner.is_running() for runner in runners))
    start_worker()

    eventually(lambda: states(store, *RUNS) == ["lost", "succeeded", "interrupted"])
    assert sorted(journal.executed()) == ["q0-s-1-1", "q1-s-1-2", "q1-s-1-2", "q2-s-1-3"]
    assert {name: size for name, size in counters(store).items() if name in ("lost", "succeeded", "interrupted")} == {
        "lost": 1,
        "succeeded": 1,
        "interrupted": 1,
    }


def test_with_everybodys_settings_a_dead_worker_is_found_within_15_seconds(
    store: Store, headrace: Callable[..., HeadraceProcess], redis_url: str, journal: Journal
) -> None:
    """By another one that has lived for long enough to know; `make bench` tells how soon."""
    queue_runs(store, deploy(store, journal.source), "q2-s-1-1", payload=b"hold")
    first = headrace("worker", REDIS_URL=redis_url).wait_ready()
    eventually(journal.executed)
    headrace("worker", REDIS_URL=redis_url).wait_ready()
    seconds = int(store.command("TIME")[0])
    eventually(lambda: int(store.command("TIME")[0]) >= seconds + 14, timeout_s=20)
    first.kill9()

    eventually(lambda: states(store, "q2-s-1-1") == ["interrupted"], timeout_s=15)
    assert journal.executed() == ["q2-s-1-1"]


@pytest.mark.parametrize(
    "run_id,state,executions", [("q0-s-1-1", "lost", 1), ("q1-s-1-2", "succeeded", 2), ("q2-s-1-3", "interrupted", 1)]
)
def test_a_runner_killed_while_the_code_runs_is_the_crash_of_that_run_alone(
    store: Store,
    start_worker: Callable[[], HeadraceProcess],
    journal: Journal,
    run_id: str,
    state: str,
    executions: int,
) -> None:
    """The worker lives on and executes what comes next in a fresh runner."""
    version = deploy(store, journal.source)
    worker = start_worker()
    queue_runs(store, version, run_id, payload=b"hold")
    eventually(journal.executed)
    runner_of(worker).kill()
    queue_runs(store, version, "q2-s-9-9")

    eventually(lambda: states(store, run_id, "q2-s-9-9") == [state, "succeeded"])
    assert journal.executed().count(run_id) == executions
    assert worker.running


def test_a_run_that_kills_its_runner_each_time_ends_in_the_dead_letters(
    store: Store, start_worker: Callable[[], HeadraceProcess], journal: Journal
) -> None:
    """QoS 1: three recorded starts, and then no more; the runs beside it are executed once."""
    deadly = deploy(store, "import os, signal\ndef main(payload: bytes):\n    os.kill(os.getpid(), signal.SIGKILL)\n")
    start_worker()
    queue_runs(store, deadly, "q1-s-1-1")
    queue_runs(store, deploy(store, journal.source), "q1-s-1-2", "q2-s-1-3")

    eventually(lambda: states(store, "q1-s-1-1", "q1-s-1-2", "q2-s-1-3") == ["failed", "succeeded", "succeeded"])
    assert attempts(store, "q1-s-1-1") == 3
    assert store.command("ZRANGE", keys.DEAD, 0, -1) == [b"q1-s-1-1"]
    assert "SIGKILL" in last_attempt(store, "q1-s-1-1")["error"]["message"]
    assert journal.executed() == ["q1-s-1-2", "q2-s-1-3"]


def test_a_worker_that_stood_still_between_claim_and_start_starts_nothing_that_was_swept(
    store: Store, start_worker: Callable[[], HeadraceProcess], journal: Journal
) -> None:
    """It must beat first, and is then told that the runs are no longer its own."""
    queue_runs(store, deploy(store, journal.source), *RUNS)
    claims = claim_all(store)
    start_worker()
    eventually(lambda: states(store, *RUNS) == ["lost", "succeeded", "succeeded"])

    starting = verbs.start(STALLED, NOW_ISO, claims)
    unknown = store.run(starting)
    store.run(verbs.beat(STALLED, SHORT_MS))
    assert unknown is None
    assert store.run(starting) == [False, False, False]
    assert len(journal.executed()) == 2


def test_a_worker_that_stood_still_while_its_run_went_on_tells_the_truth_late(
    store: Store, start_worker: Callable[[], HeadraceProcess], journal: Journal
) -> None:
    """Written off as interrupted by the sweep, then finished: it has succeeded, once."""
    queue_runs(store, deploy(store, journal.source), "q2-s-1-1", payload=b"hold")
    sleeper = start_worker()
    eventually(journal.executed)
    os.kill(sleeper.pid, signal.SIGSTOP)
    start_worker()
    eventually(lambda: states(store, "q2-s-1-1") == ["interrupted"])
    os.kill(sleeper.pid, signal.SIGCONT)
    journal.open_gate()

    eventually(lambda: states(store, "q2-s-1-1") == ["succeeded"])
    assert journal.executed() == ["q2-s-1-1"]
    assert counters(store)["succeeded"] == 1
    assert "interrupted" not in counters(store)
    assert store.command("ZCARD", keys.DEAD) == 0
    queue_runs(store, deploy(store, journal.source), "q2-s-1-2", "q2-s-1-3")
    eventually(lambda: states(store, "q2-s-1-2", "q2-s-1-3") == ["succeeded"] * 2)
    assert sleeper.sigterm() == 0


def test_an_ending_that_comes_after_the_run_was_given_to_another_changes_nothing(
    store: Store, start_worker: Callable[[], HeadraceProcess], journal: Journal
) -> None:
    """QoS 1: the second execution is the one that counts, and the first is counted as late."""
    queue_runs(store, deploy(store, journal.source), "q1-s-1-1", payload=b"hold")
    sleeper = start_worker()
    eventually(journal.executed)
    os.kill(sleeper.pid, signal.SIGSTOP)
    start_worker()
    eventually(lambda: states(store, "q1-s-1-1") == ["succeeded"])
    os.kill(sleeper.pid, signal.SIGCONT)
    journal.open_gate()

    eventually(lambda: counters(store).get("late") == 1)
    assert (counters(store)["succeeded"], attempts(store, "q1-s-1-1")) == (1, 2)
    assert last_attempt(store, "q1-s-1-1")["log"] == "attempt 2\n"
