"""RQ's own tools on our worker and our runs: what an operator knows from RQ keeps working."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from rq import Queue
from rq.command import send_kill_horse_command, send_shutdown_command, send_stop_job_command
from rq.job import Job
from rq.registry import FailedJobRegistry, FinishedJobRegistry
from rq.suspension import resume, suspend

from shared import keys
from shared.store import Store
from tests.support.eventually import eventually
from tests.support.factories import counters, run_fields
from tests.support.processes import HeadraceProcess
from tests.support.valkey import ValkeyServer
from tests.support.workers import FAST, Journal, deploy, last_attempt, queue_runs, states
from worker.rq_worker import MsgpackSerializer

StartProcess = Callable[..., HeadraceProcess]


@pytest.fixture
def rq_client(redis_url: str) -> Iterator[redis.Redis]:
    """The connection that RQ's tools are given."""
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """What the scripts of this test execute."""
    return Journal(tmp_path)


@pytest.fixture
def worker(headrace: StartProcess, redis_url: str) -> HeadraceProcess:
    """A worker that is ready."""
    return headrace("worker", REDIS_URL=redis_url, **FAST).wait_ready()


def fetch(client: redis.Redis, run_id: str) -> Job:
    """The run as RQ knows it."""
    return Job.fetch(run_id, connection=client, serializer=MsgpackSerializer)


def rq_info(url: str) -> str:
    """What `rq info` prints, for machines."""
    command = [sys.executable, "-m", "rq.cli", "info", "--url", url, "--raw"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout


def test_rq_info_shows_queue_worker_and_what_became_of_the_runs(
    store: Store, worker: HeadraceProcess, journal: Journal, redis_url: str
) -> None:
    """Also while a run executes, which its cleaning of registries must leave alone."""
    version = deploy(store, journal.source)
    queue_runs(store, version, "q2-s-1-1")
    queue_runs(store, deploy(store, "def main(): raise ValueError"), "q1-s-1-2")
    eventually(lambda: states(store, "q2-s-1-1", "q1-s-1-2") == ["succeeded", "failed"])
    queue_runs(store, version, "q2-s-1-3", payload=b"hold")
    eventually(lambda: states(store, "q2-s-1-3") == ["running"])

    eventually(lambda: " busy headrace. jobs: 1 finished, 1 failed" in rq_info(redis_url), interval_s=0.3)
    assert "queue headrace 0, 1 executing, 1 finished, 1 failed" in rq_info(redis_url)
    journal.open_gate()
    eventually(lambda: states(store, "q2-s-1-3") == ["succeeded"])
    assert worker.sigterm() == 0
    assert "headrace. jobs" not in rq_info(redis_url)


def test_a_job_gives_its_result_and_its_traceback_through_rq(
    store: Store, worker: HeadraceProcess, rq_client: redis.Redis, journal: Journal
) -> None:
    """`return_value`, `latest_result`, status and registries."""
    queue_runs(store, deploy(store, journal.source), "q2-s-1-1", payload=b"21.5")
    queue_runs(store, deploy(store, "def main(): raise ValueError('too hot')"), "q1-s-1-2")
    eventually(lambda: states(store, "q2-s-1-1", "q1-s-1-2") == ["succeeded", "failed"])

    finished, failed = fetch(rq_client, "q2-s-1-1"), fetch(rq_client, "q1-s-1-2")
    assert (finished.return_value(), finished.get_status()) == ("21.5", "finished")
    assert finished.func_name == "headrace.run"
    result = failed.latest_result()
    assert result is not None
    assert "ValueError: too hot" in str(result.exc_string)
    queue = Queue(keys.QUEUE, connection=rq_client, serializer=MsgpackSerializer)
    assert FinishedJobRegistry(queue=queue).get_job_ids() == ["q2-s-1-1"]
    assert FailedJobRegistry(queue=queue).get_job_ids() == ["q1-s-1-2"]
    assert worker.running


def test_rq_suspend_and_resume_stop_and_let_go_every_worker(
    store: Store, worker: HeadraceProcess, rq_client: redis.Redis, journal: Journal, redis_url: str
) -> None:
    """While suspended nothing is claimed, and `rq info` says so."""
    suspend(rq_client)
    queue_runs(store, deploy(store, journal.source), "q2-s-1-1")
    eventually(lambda: " suspended headrace." in rq_info(redis_url), interval_s=0.3)
    waiting = states(store, "q2-s-1-1")
    resume(rq_client)

    assert waiting == ["queued"]
    eventually(lambda: states(store, "q2-s-1-1") == ["succeeded"])
    assert worker.running


def test_rq_stop_job_ends_the_run_that_executes_and_no_other(
    store: Store, worker: HeadraceProcess, rq_client: redis.Redis, journal: Journal
) -> None:
    """It is stopped for RQ and cancelled for us; the worker goes on."""
    version = deploy(store, journal.source)
    queue_runs(store, version, "q2-s-1-1", payload=b"hold")
    eventually(lambda: journal.executed() == ["q2-s-1-1"])
    send_stop_job_command(rq_client, "q2-s-1-1", serializer=MsgpackSerializer)
    queue_runs(store, version, "q2-s-1-2")

    eventually(lambda: states(store, "q2-s-1-1", "q2-s-1-2") == ["cancelled", "succeeded"])
    assert fetch(rq_client, "q2-s-1-1").get_status() == "stopped"
    assert last_attempt(store, "q2-s-1-1")["error"]["name"] == "Stopped"
    assert (counters(store)["cancelled"], counters(store)["succeeded"]) == (1, 1)
    assert worker.running


def test_rq_kill_horse_is_a_crash_of_the_run_that_executes(
    store: Store, worker: HeadraceProcess, rq_client: redis.Redis, journal: Journal
) -> None:
    """The crash policy says what becomes of it: QoS 1 starts again."""
    queue_runs(store, deploy(store, journal.source), "q1-s-1-1", payload=b"hold")
    eventually(journal.executed)
    name = run_fields(store, "q1-s-1-1")["worker_name"]
    send_kill_horse_command(rq_client, name)

    eventually(lambda: states(store, "q1-s-1-1") == ["succeeded"])
    assert journal.executed() == ["q1-s-1-1"] * 2
    assert worker.running


def test_rq_shutdown_ends_the_worker_in_good_order(
    store: Store, worker: HeadraceProcess, rq_client: redis.Redis, journal: Journal
) -> None:
    """What runs is finished first."""
    queue_runs(store, deploy(store, journal.source), "q2-s-1-1", payload=b"hold")
    eventually(journal.executed)
    send_shutdown_command(rq_client, run_fields(store, "q2-s-1-1")["worker_name"])
    eventually(lambda: "stopping" in worker.output)
    journal.open_gate()

    assert worker.wait() == 0
    assert states(store, "q2-s-1-1") == ["succeeded"]


def test_a_queued_run_that_rq_cancels_is_not_executed_and_is_counted_as_cancelled(
    store: Store, worker: HeadraceProcess, rq_client: redis.Redis, journal: Journal
) -> None:
    """RQ knows nothing of our counters: a sweep adopts what it did."""
    suspend(rq_client)
    queue_runs(store, deploy(store, journal.source), "q2-s-1-1", "q2-s-1-2")
    fetch(rq_client, "q2-s-1-1").cancel()
    resume(rq_client)

    eventually(lambda: states(store, "q2-s-1-1", "q2-s-1-2") == ["cancelled", "succeeded"])
    assert journal.executed() == ["q2-s-1-2"]
    assert counters(store) == {
        "received": 2,
        "admitted": 2,
        "placed": 2,
        "runs": 2,
        "cancelled": 1,
        "succeeded": 1,
    }
    assert worker.running


def test_a_failed_run_that_rq_requeues_is_executed_again_under_the_same_id(
    store: Store, worker: HeadraceProcess, rq_client: redis.Redis, tmp_path: Path
) -> None:
    """`job.requeue()` is a re-drive: outside the identities, attempt 2, no dead letter any more."""
    mended = tmp_path / "mended"
    source = f"""
        import os, headrace
        def main(payload: bytes):
            if not os.path.exists({str(mended)!r}):
                raise ValueError("not yet")
            return headrace.run.attempt
    """
    queue_runs(store, deploy(store, source), "q2-s-1-1")
    eventually(lambda: states(store, "q2-s-1-1") == ["failed"])
    mended.touch()
    fetch(rq_client, "q2-s-1-1").requeue()

    eventually(lambda: states(store, "q2-s-1-1") == ["succeeded"])
    assert fetch(rq_client, "q2-s-1-1").return_value() == 2
    assert counters(store)["failed"] == 1
    assert store.command("ZCARD", keys.DEAD) == 0
    assert worker.running


def test_a_job_that_somebody_else_has_queued_is_failed_and_never_executed(
    store: Store, worker: HeadraceProcess, rq_client: redis.Redis, tmp_path: Path
) -> None:
    """Pickled calls, whoever wrote them, are data to us: nothing in them is imported or called."""
    witness = tmp_path / "witness"
    Queue(keys.QUEUE, connection=rq_client).enqueue("os.mkdir", str(witness), job_id="foreign-1")
    bomb = pickle.dumps(("os.mkdir", None, (str(witness),), {}))
    store.command(
        "HSET", keys.job("foreign-2"), "data", bomb, "status", "queued", "created_at", "", "origin", "headrace"
    )
    store.command("RPUSH", keys.RQ_QUEUE, "foreign-2")

    eventually(lambda: states(store, "foreign-1", "foreign-2") == ["failed", "failed"])
    assert last_attempt(store, "foreign-2")["error"]["name"] == "InvalidJob"
    assert not witness.exists()
    assert worker.running


def test_the_worker_hears_commands_and_is_listed_again_after_redis_was_away(
    headrace: StartProcess, own_valkey: ValkeyServer, journal: Journal
) -> None:
    """It comes back into RQ's registry, even of a Redis that has lost everything, and listens again."""
    worker = headrace("worker", REDIS_URL=own_valkey.url, **FAST).wait_ready()
    own_valkey.kill9()
    own_valkey.start()
    with own_valkey.client() as client:
        client.flushall()
        eventually(lambda: " idle headrace." in rq_info(own_valkey.url), timeout_s=20, interval_s=0.5)
        store = Store.connect(own_valkey.url)
        queue_runs(store, deploy(store, journal.source), "q2-s-1-1", payload=b"hold")
        eventually(journal.executed)
        name = run_fields(store, "q2-s-1-1")["worker_name"]
        eventually(lambda: client.publish(f"rq:pubsub:{name}", "{}"))
        send_stop_job_command(client, "q2-s-1-1", serializer=MsgpackSerializer)
        eventually(lambda: states(store, "q2-s-1-1") == ["cancelled"])
    assert worker.running
