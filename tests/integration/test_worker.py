"""A real worker process and its real runners: runs from the queue to the history."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from shared import keys
from shared.envelope import ENVELOPE_VERSION, encode_envelope
from shared.store import Store
from tests.support.eventually import eventually
from tests.support.factories import counters, make_envelope, run_fields
from tests.support.processes import HeadraceProcess
from tests.support.workers import (
    FAST,
    SCRIPT,
    Journal,
    attempts,
    claims_left,
    deploy,
    last_attempt,
    queue_runs,
    states,
)

StartProcess = Callable[..., HeadraceProcess]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """What the scripts of this test execute."""
    return Journal(tmp_path)


@pytest.fixture
def worker(headrace: StartProcess, redis_url: str) -> HeadraceProcess:
    """A worker that is ready."""
    return headrace("worker", REDIS_URL=redis_url, **FAST).wait_ready()


def test_a_run_is_executed_and_recorded_with_result_and_log(
    store: Store, worker: HeadraceProcess, journal: Journal
) -> None:
    """Queue, code, history: state, attempts, times, result, log, counters."""
    queue_runs(store, deploy(store, journal.source), "q1-s-1-1", payload=b"21.5")

    eventually(lambda: states(store, "q1-s-1-1") == ["succeeded"])
    fields, attempt = run_fields(store, "q1-s-1-1"), last_attempt(store, "q1-s-1-1")
    assert (attempt["result"], attempt["log"]) == ("21.5", "attempt 1\n")
    assert (fields["attempts"], fields["status"]) == ("1", "finished")
    assert fields["started_at"] <= fields["ended_at"]
    assert counters(store) == {"received": 1, "admitted": 1, "placed": 1, "runs": 1, "succeeded": 1}
    assert worker.running


def test_a_thousand_runs_of_every_qos_are_executed_once_each(
    store: Store, worker: HeadraceProcess, journal: Journal
) -> None:
    """In batches or one by one, in the order of the queue, and nothing stays in the worker's hands."""
    version = deploy(store, journal.source)
    run_ids = [f"q{qos}-s-{qos}-{n}" for qos in (0, 1, 2) for n in range(333)]
    queue_runs(store, version, *run_ids)

    eventually(lambda: counters(store).get("succeeded") == 999, timeout_s=30)
    assert journal.executed() == run_ids
    assert claims_left(store) == 0
    assert worker.sigterm() == 0


def test_a_script_that_raises_fails_its_run_with_the_users_traceback(store: Store, worker: HeadraceProcess) -> None:
    """Failed, dead letter, in RQ's failed registry; the worker goes on."""
    version = deploy(store, "def main(payload: bytes):\n    print('before')\n    raise ValueError('too hot')\n")
    queue_runs(store, version, "q2-s-1-1")

    eventually(lambda: states(store, "q2-s-1-1") == ["failed"])
    attempt = last_attempt(store, "q2-s-1-1")
    assert (attempt["error"]["name"], attempt["error"]["message"]) == ("ValueError", "too hot")
    assert "f/t/script.py" in attempt["traceback"]
    assert attempt["log"] == "before\n"
    assert store.command("ZRANGE", keys.DEAD, 0, -1) == store.command("ZRANGE", keys.RQ_FAILED, 0, -1) == [b"q2-s-1-1"]
    assert worker.running


def test_a_script_that_cannot_be_loaded_fails_every_run_with_that_error(store: Store, worker: HeadraceProcess) -> None:
    """The import error is shown at the run, where the user looks."""
    queue_runs(store, deploy(store, "import no_such_module\n\ndef main(): ...\n"), "q1-s-1-1", "q2-s-1-2")

    eventually(lambda: states(store, "q1-s-1-1", "q2-s-1-2") == ["failed", "failed"])
    assert last_attempt(store, "q2-s-1-2")["error"]["name"] == "ModuleNotFoundError"
    assert worker.running


def test_a_version_that_was_never_deployed_is_not_executed(store: Store, worker: HeadraceProcess) -> None:
    """The run fails and names what is missing."""
    queue_runs(store, "0123456789abcdef", "q1-s-1-1")

    eventually(lambda: states(store, "q1-s-1-1") == ["failed"])
    error = last_attempt(store, "q1-s-1-1")["error"]
    assert error["name"] == "ScriptMissing"
    assert SCRIPT in error["message"]
    assert worker.running


def test_a_run_that_takes_too_long_is_ended_and_the_one_behind_it_is_executed(
    store: Store, worker: HeadraceProcess, journal: Journal
) -> None:
    """The time-out kills the runner, not the worker; what the run had printed is kept."""
    endless = "import sys\ndef main(payload: bytes):\n    print('going')\n    while True:\n        pass\n"
    queue_runs(store, deploy(store, endless), "q2-s-1-1", timeout_s=1)
    queue_runs(store, deploy(store, journal.source), "q2-s-1-2")

    eventually(lambda: states(store, "q2-s-1-1", "q2-s-1-2") == ["failed", "succeeded"])
    attempt = last_attempt(store, "q2-s-1-1")
    assert attempt["error"]["name"] == "TimeoutError"
    assert "within 1 s" in attempt["error"]["message"]
    assert attempt["log"] == "going\n"
    assert worker.running


def test_runs_started_together_with_one_that_hangs_are_executed_once_each(
    store: Store, worker: HeadraceProcess, journal: Journal
) -> None:
    """They are sent again to a fresh runner without a second start."""
    version = deploy(store, journal.source)
    warm_up = [f"q1-w-1-{n}" for n in range(200)]
    queue_runs(store, version, *warm_up)
    eventually(lambda: counters(store).get("succeeded") == 200)
    queue_runs(store, version, "q1-s-1-0", payload=b"hold", timeout_s=1)
    behind = [f"q1-s-1-{n}" for n in range(1, 20)]
    queue_runs(store, version, *behind)

    eventually(lambda: states(store, *behind) == ["succeeded"] * 19)
    assert states(store, "q1-s-1-0") == ["failed"]
    assert journal.executed()[200:] == ["q1-s-1-0", *behind]
    assert {attempts(store, run_id) for run_id in behind} == {1}
    assert worker.running


def test_output_past_pythons_own_streams_fills_no_pipe(store: Store, worker: HeadraceProcess) -> None:
    """300 KB written to descriptor 1 end in the log."""
    queue_runs(store, deploy(store, "import os\ndef main():\n    return os.write(1, b'x' * 300_000)\n"), "q1-s-1-1")

    eventually(lambda: states(store, "q1-s-1-1") == ["succeeded"])
    assert last_attempt(store, "q1-s-1-1")["log"].count("x") >= 300_000
    assert worker.running


def test_an_ending_is_recorded_while_a_run_behind_it_still_executes(
    store: Store, worker: HeadraceProcess, journal: Journal
) -> None:
    """A long run holds nothing back: endings go out, and what was only claimed goes back to the queue."""
    version = deploy(store, journal.source)
    queue_runs(store, version, *[f"q1-w-1-{n}" for n in range(200)])
    eventually(lambda: counters(store).get("succeeded") == 200)
    queue_runs(store, version, "q1-s-1-1")
    queue_runs(store, version, "q1-s-1-2", payload=b"hold")
    queue_runs(store, version, "q2-s-1-3")

    eventually(lambda: states(store, "q1-s-1-1", "q1-s-1-2", "q2-s-1-3") == ["succeeded", "running", "queued"])
    eventually(lambda: store.command("LRANGE", keys.RQ_QUEUE, 0, -1) == [b"q2-s-1-3"])
    journal.open_gate()
    eventually(lambda: states(store, "q1-s-1-2", "q2-s-1-3") == ["succeeded"] * 2)
    assert worker.running


def test_a_worker_that_is_asked_to_stop_finishes_what_runs_and_gives_back_the_rest(
    store: Store, worker: HeadraceProcess, journal: Journal
) -> None:
    """SIGTERM: exit status 0, the run is recorded, the queue keeps what was not started, no trace of the worker."""
    version = deploy(store, journal.source)
    queue_runs(store, version, "q2-s-1-1", payload=b"hold")
    eventually(lambda: journal.executed() == ["q2-s-1-1"])
    queue_runs(store, version, "q1-s-1-2", "q2-s-1-3")
    worker.send(signal.SIGTERM)
    journal.open_gate()

    assert worker.wait() == 0
    assert states(store, "q2-s-1-1", "q1-s-1-2", "q2-s-1-3") == ["succeeded", "queued", "queued"]
    assert store.command("LRANGE", keys.RQ_QUEUE, 0, -1) == [b"q1-s-1-2", b"q2-s-1-3"]
    assert store.command("SMEMBERS", keys.WORKERS) == store.command("SMEMBERS", keys.RQ_WORKERS) == set()


def test_a_second_signal_ends_what_runs(store: Store, worker: HeadraceProcess, journal: Journal) -> None:
    """The run has crashed, and the crash policy says what becomes of it."""
    queue_runs(store, deploy(store, journal.source), "q2-s-1-1", payload=b"hold")
    eventually(journal.executed)
    worker.send(signal.SIGINT)
    eventually(lambda: "stopping" in worker.output)

    def asked_again() -> bool:
        worker.send(signal.SIGINT)
        return states(store, "q2-s-1-1") == ["interrupted"]

    eventually(asked_again, interval_s=1.2)

    assert worker.wait() == 0
    assert "Traceback" not in worker.output


def test_a_run_that_a_newer_release_has_placed_is_left_to_its_workers(
    store: Store, worker: HeadraceProcess, journal: Journal
) -> None:
    """A rolling upgrade: this worker ends with an error and gives back what it had claimed."""
    envelope = encode_envelope(make_envelope(version=ENVELOPE_VERSION + 1))
    queue_runs(store, deploy(store, journal.source), "q0-s-1-1", envelope=envelope)

    assert worker.wait() == 1
    assert "upgrade" in worker.output
    assert states(store, "q0-s-1-1") == ["queued"]
    assert store.command("LRANGE", keys.RQ_QUEUE, 0, -1) == [b"q0-s-1-1"]


def test_retention_forgets_the_oldest_ended_runs_and_lowers_no_counter(
    store: Store, headrace: StartProcess, redis_url: str, journal: Journal
) -> None:
    """Ended runs are kept up to the limit, records and all; the newest stay."""
    headrace("worker", REDIS_URL=redis_url, HEADRACE_RETENTION__RUNS_MAX="5", **FAST)
    old, new = [f"q1-s-1-{n}" for n in range(10)], [f"q1-s-2-{n}" for n in range(5)]
    version = deploy(store, journal.source)
    queue_runs(store, version, *old)
    eventually(lambda: counters(store).get("succeeded") == 10)
    queue_runs(store, version, *new)

    eventually(lambda: counters(store).get("succeeded") == 15)
    eventually(lambda: store.command("ZCARD", keys.RQ_FINISHED) == 5)
    assert {run_id.decode() for run_id in store.command("ZRANGE", keys.RQ_FINISHED, 0, -1)} == set(new)
    assert store.command("ZCARD", keys.RUNS) == 5
    assert store.command("EXISTS", *[keys.job(run_id) for run_id in old]) == 0
    assert counters(store)["succeeded"] == 15
