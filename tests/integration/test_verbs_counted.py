"""A claim says in whose counters its run stands: the verbs that follow need not read it again, and may."""

from __future__ import annotations

import msgspec
import pytest

from shared import keys
from shared.scripts import operate
from shared.scripts import worker as verbs
from shared.scripts.worker import Claim, Ending, Limits
from shared.store import Store
from tests.support.factories import NOW_ISO, NOW_MS, TRIGGER, counters, place_runs, run_fields

LIMITS = Limits(max_crashes=3, dead_max=100)
WORKER = "w1"


@pytest.fixture
def store(redis_url: str) -> Store:
    """A store on an empty server, which knows the worker."""
    store = Store.connect(redis_url)
    store.run(verbs.beat(WORKER, 60_000))
    return store


def claim_all(store: Store, nth: int) -> list[Claim]:
    """Claim what is in the queue."""
    return store.run(verbs.claim(WORKER, f"{WORKER}-{nth}", 10, 1 << 20)).claims


def execute(store: Store, claims: list[Claim], outcome: verbs.Outcome, counted: list[str], worked_s: float = 0) -> None:
    """Start and finish claims."""
    assert store.run(verbs.start(WORKER, NOW_ISO, claims)) == [True] * len(claims)
    endings = [
        Ending(claim.run_id, claim.execution, outcome, counted=by) for claim, by in zip(claims, counted, strict=True)
    ]
    store.run(verbs.finish(WORKER, NOW_ISO, NOW_MS, LIMITS, worked_s, endings))


@pytest.mark.parametrize("known", [True, False])
def test_counters_are_the_same_whether_the_claim_is_believed_or_looked_up(store: Store, *, known: bool) -> None:
    """Of runs started and finished in one call each."""
    place_runs(store, "q1-s-1-1", "q1-s-1-2")
    claims = claim_all(store, 1)
    assert [claim.counted for claim in claims] == [TRIGGER, TRIGGER]
    if not known:
        claims = [msgspec.structs.replace(claim, counted="") for claim in claims]
    execute(store, claims, "succeeded", [claim.counted for claim in claims])

    assert counters(store) == {"received": 2, "admitted": 2, "placed": 2, "runs": 2, "succeeded": 2}
    assert store.command("HLEN", keys.claims(WORKER)) == store.command("ZCARD", keys.RQ_STARTED) == 0


def test_a_redriven_run_is_claimed_as_one_outside_the_identities(store: Store) -> None:
    """By our verb or by RQ's own requeue; also in a claim that was read back."""
    place_runs(store, "q2-s-1-1", "q2-s-1-2")
    for nth, claim in enumerate(claim_all(store, 1)):
        execute(store, [claim], "failed", [claim.counted])
        if nth == 0:
            store.run(operate.retry(claim.run_id, NOW_ISO))
        else:
            store.command("HSET", keys.job(claim.run_id), "status", "queued")
            store.command("RPUSH", keys.RQ_QUEUE, claim.run_id)
    before = counters(store)
    claims = claim_all(store, 2)
    assert [claim.counted for claim in claims] == ["-", "-"]
    assert {claim.counted for claim in store.run(verbs.read_claims(WORKER))} == {"-"}
    execute(store, claims, "succeeded", ["-", "-"])

    assert counters(store) == before
    assert run_fields(store, "q2-s-1-1")["state"] == "succeeded"


def test_working_time_of_nought_is_not_written(store: Store) -> None:
    """It is told in steps; how many runs there were is always told."""
    store.command("HSET", keys.rq_worker(WORKER), "birth", NOW_ISO)
    place_runs(store, "q1-s-1-1", "q1-s-1-2")
    first, second = claim_all(store, 1)
    execute(store, [first], "succeeded", [TRIGGER])
    assert store.command("HGET", keys.rq_worker(WORKER), "successful_job_count") == b"1"
    assert store.command("HEXISTS", keys.rq_worker(WORKER), "total_working_time") == 0
    execute(store, [second], "succeeded", [TRIGGER], worked_s=1.5)
    assert store.command("HGET", keys.rq_worker(WORKER), "total_working_time") == b"1.5"


def test_statistics_do_not_bring_back_a_worker_that_rq_has_forgotten(store: Store) -> None:
    """A hash without a birth and without an expiry would stay for ever."""
    place_runs(store, "q1-s-1-1")
    execute(store, claim_all(store, 1), "succeeded", [TRIGGER], worked_s=1.5)

    assert store.command("EXISTS", keys.rq_worker(WORKER)) == 0
