"""RQ's tools act on a run at the wrong moment: while it executes, or beside our own verbs."""

from __future__ import annotations

import redis
from rq.job import Job

from shared import keys
from shared.scripts import operate
from shared.scripts import worker as verbs
from shared.scripts.worker import Claim, Ending, Limits
from shared.store import Store
from tests.support.factories import NOW_ISO, NOW_MS, counters, place_runs, run_fields
from worker.rq_worker import MsgpackSerializer

LIMITS = Limits(max_crashes=3, dead_max=100)
LEASE_MS = 60_000


def started(store: Store, run_id: str) -> Claim:
    """A run that executes on worker w1."""
    place_runs(store, run_id)
    store.run(verbs.beat("w1", LEASE_MS))
    (claim,) = store.run(verbs.claim("w1", "w1-1", 1, 1 << 20)).claims
    assert store.run(verbs.start("w1", NOW_ISO, [claim])) == [True]
    return claim


def finish(store: Store, claim: Claim, outcome: verbs.Outcome) -> str:
    """Record the ending; the new state."""
    ending = Ending(claim.run_id, claim.execution, outcome)
    return store.run(verbs.finish("w1", NOW_ISO, NOW_MS, LIMITS, 0.1, [ending]))[0]


def rq_job(redis_url: str, run_id: str) -> Job:
    """The run as RQ's tools hold it."""
    return Job.fetch(run_id, connection=redis.Redis.from_url(redis_url), serializer=MsgpackSerializer)


def test_a_run_that_rq_cancels_while_it_executes_is_not_forgotten_before_it_has_ended(
    store: Store, redis_url: str
) -> None:
    """Retention may come round to RQ's cancelled registry first: then the ending would have no run to be written to."""
    claim = started(store, "q2-s-1-1")
    rq_job(redis_url, "q2-s-1-1").cancel()
    store.run(verbs.sweep("w1", NOW_ISO, NOW_MS, LIMITS, 100, "{}", ""))
    store.run(verbs.prune(keys.RQ_CANCELED, 0, 0, 100))
    while_it_executes = run_fields(store, "q2-s-1-1").get("state")
    finish(store, claim, "succeeded")

    assert while_it_executes == "running"
    assert run_fields(store, "q2-s-1-1")["trigger"] == "f/demo/hello"
    assert counters(store) == {"received": 1, "admitted": 1, "placed": 1, "runs": 1, "succeeded": 1}
    assert store.command("ZCARD", keys.RQ_CANCELED) == 0


def test_a_run_that_rq_has_requeued_is_not_queued_a_second_time_by_a_re_drive(store: Store, redis_url: str) -> None:
    """Two people, two tools, one wish."""
    finish(store, started(store, "q2-s-1-1"), "failed")
    rq_job(redis_url, "q2-s-1-1").requeue()

    assert store.run(operate.retry("q2-s-1-1", NOW_ISO)) == "not ended badly"
    assert store.command("LRANGE", keys.RQ_QUEUE, 0, -1) == [b"q2-s-1-1"]


def test_retention_goes_on_when_redis_is_full(store: Store) -> None:
    """It is what makes room: refused like the other verbs, a full Redis would stay full."""
    finish(store, started(store, "q1-s-1-1"), "succeeded")
    store.command("CONFIG", "SET", "maxmemory", "1")
    try:
        assert store.run(verbs.prune(keys.RQ_FINISHED, 0, 0, 100)).count == 1
    finally:
        store.command("CONFIG", "SET", "maxmemory", "0")
