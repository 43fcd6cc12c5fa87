"""A real worker through lost replies and through outages of Redis."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from time import sleep

import pytest

from shared import keys
from shared.scripts import worker as verbs
from shared.scripts.call import script
from shared.store import Store
from tests.support.eventually import eventually
from tests.support.factories import counters
from tests.support.processes import HeadraceProcess
from tests.support.proxy import CuttingProxy
from tests.support.valkey import ValkeyServer
from tests.support.workers import FAST, LEASE_MS, Journal, attempts, claims_left, deploy, queue_runs, states

StartProcess = Callable[..., HeadraceProcess]
AWAY_S = 3 * LEASE_MS / 1000
RUNS = ("q0-s-1-1", "q1-s-1-2", "q2-s-1-3")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """What the scripts of this test execute."""
    return Journal(tmp_path)


@pytest.fixture
def proxy(valkey: ValkeyServer, redis_url: str) -> Iterator[CuttingProxy]:
    """A way to the shared Redis that loses replies."""
    assert redis_url == valkey.url
    with CuttingProxy(valkey.port) as proxy:
        yield proxy


@pytest.mark.parametrize("verb", ["claim", "start", "finish", "read_claims", "release"])
def test_a_lost_reply_costs_no_run_and_executes_none_twice(
    headrace: StartProcess, proxy: CuttingProxy, valkey: ValkeyServer, journal: Journal, verb: str
) -> None:
    """Redis has carried the verb out and the worker does not know: it repeats, or reads its claims back."""
    store = Store.connect(valkey.url)
    run_ids = [f"q{n % 3}-s-1-{n}" for n in range(60)]
    queue_runs(store, deploy(store, journal.source), *run_ids)
    proxy.cut_replies(2, after=script(verb).sha.encode())
    worker = headrace("worker", REDIS_URL=f"redis://127.0.0.1:{proxy.port}/0", **FAST)

    eventually(lambda: states(store, *run_ids) == ["succeeded"] * 60, timeout_s=20)
    assert sorted(journal.executed()) == sorted(run_ids)
    assert {attempts(store, run_id) for run_id in run_ids} == {1}
    assert (counters(store)["succeeded"], claims_left(store)) == (60, 0)
    assert proxy.cuts == 2 or verb == "release"
    assert worker.sigterm() == 0


def test_connections_that_break_all_the_time_cost_no_run_and_execute_none_twice(
    headrace: StartProcess, proxy: CuttingProxy, valkey: ValkeyServer, journal: Journal
) -> None:
    """Requests and replies are lost at any moment."""
    store = Store.connect(valkey.url)
    run_ids = [f"q{n % 3}-s-1-{n}" for n in range(300)]
    queue_runs(store, deploy(store, journal.source), *run_ids)
    worker = headrace("worker", REDIS_URL=f"redis://127.0.0.1:{proxy.port}/0", **FAST)

    def all_done() -> bool:
        proxy.drop()
        return states(store, *run_ids) == ["succeeded"] * 300

    eventually(all_done, timeout_s=45, interval_s=0.2)
    assert sorted(journal.executed()) == sorted(run_ids)
    assert {attempts(store, run_id) for run_id in run_ids} == {1}
    assert claims_left(store) == 0
    assert worker.running


def held_runs(headrace: StartProcess, server: ValkeyServer, store: Store, journal: Journal) -> list[HeadraceProcess]:
    """Three workers, each with one long run of another QoS, and one that has nothing to do but to sweep."""
    queue_runs(store, deploy(store, journal.source), *RUNS, payload=b"hold")
    workers = [headrace("worker", REDIS_URL=server.url, **FAST).wait_ready() for _ in range(4)]
    eventually(lambda: sorted(journal.executed()) == sorted(RUNS))
    return workers


@pytest.mark.parametrize("kind", ["killed", "stopped"])
def test_nothing_is_swept_when_redis_was_away_for_longer_than_every_lease(
    headrace: StartProcess, own_valkey: ValkeyServer, journal: Journal, kind: str
) -> None:
    """Killed and restarted from its file, or frozen: the workers come back, and their runs end as they should.

    A worker that really is dead is swept afterwards: so sweeps go on, and have left the living alone.
    """
    store = Store.connect(own_valkey.url)
    queue_runs(store, deploy(store, journal.source), "q1-s-1-4")
    store.run(verbs.beat("dying", 60_000))
    store.run(verbs.claim("dying", "dying-1", 1, 1 << 20))
    workers = held_runs(headrace, own_valkey, store, journal)
    own_valkey.kill9() if kind == "killed" else own_valkey.sigstop()
    sleep(AWAY_S)  # every lease runs out
    own_valkey.start() if kind == "killed" else own_valkey.sigcont()
    eventually(lambda: store.command("DEL", keys.worker("dying")))
    eventually(lambda: states(store, "q1-s-1-4") == ["succeeded"], timeout_s=20)
    assert states(store, *RUNS) == ["running"] * 3
    journal.open_gate()

    eventually(lambda: states(store, *RUNS) == ["succeeded"] * 3)
    assert sorted(journal.executed()) == sorted([*RUNS, "q1-s-1-4"])
    assert {attempts(store, run_id) for run_id in RUNS} == {1}
    assert [worker.sigterm() for worker in workers] == [0] * 4


def test_a_sweep_that_was_asked_for_before_a_gap_is_void_when_it_comes_after(redis_url: str) -> None:
    """It may have waited in Redis' socket while every lease ran out: by generation and by lease it is told apart."""
    store = Store.connect(redis_url)
    store.run(verbs.beat("dead", LEASE_MS))
    store.command("DEL", keys.worker("dead"))

    def sweep(generation: int, fresh_ms: int) -> int:
        limits = verbs.Limits(3, 100)
        return store.run(
            verbs.sweep("w1", "", 0, limits, 10, "{}", "", generation=generation, fresh_ms=fresh_ms)
        ).workers

    store.run(verbs.beat("w1", LEASE_MS, 2))
    assert sweep(generation=1, fresh_ms=0) == -1
    assert sweep(generation=2, fresh_ms=2 * LEASE_MS) == -1
    assert sweep(generation=2, fresh_ms=0) == 1


def test_a_worker_starts_before_redis_and_waits_for_it(
    headrace: StartProcess, own_valkey: ValkeyServer, journal: Journal
) -> None:
    """Process managers start everything at once."""
    own_valkey.kill9()
    worker = headrace("worker", REDIS_URL=own_valkey.url, **FAST)
    eventually(lambda: "Redis" in worker.output)
    own_valkey.start()
    worker.wait_ready()
    store = Store.connect(own_valkey.url)
    queue_runs(store, deploy(store, journal.source), "q2-s-1-1")

    eventually(lambda: states(store, "q2-s-1-1") == ["succeeded"])
    assert journal.executed() == ["q2-s-1-1"]
    assert worker.sigterm() == 0


def test_a_worker_that_is_stopped_while_redis_is_away_ends_and_says_what_it_could_not(
    headrace: StartProcess, own_valkey: ValkeyServer, journal: Journal
) -> None:
    """With an ending that nobody can be told of the exit status is 1; the sweep of another worker settles the run."""
    store = Store.connect(own_valkey.url)
    worker = headrace("worker", REDIS_URL=own_valkey.url, **FAST).wait_ready()
    queue_runs(store, deploy(store, journal.source), "q2-s-1-1", payload=b"hold")
    eventually(journal.executed)
    own_valkey.kill9()
    worker.send(signal.SIGTERM)
    journal.open_gate()

    def asked_again() -> bool:
        worker.send(signal.SIGTERM)
        return not worker.running

    eventually(asked_again, interval_s=1.2)

    assert worker.wait() == 1
    assert "could not be told" in worker.output
    assert "Traceback" not in worker.output
