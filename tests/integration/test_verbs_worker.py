"""The Lua verbs of the worker against a real server: each legal transition of a run, and refusals."""

from __future__ import annotations

import pytest

from shared import keys
from shared.scripts import operate
from shared.scripts import worker as verbs
from shared.scripts.worker import Claim, Ending, Limits
from shared.store import Store
from tests.support.factories import NOW_ISO, NOW_MS, counters, place_runs, run_fields

LIMITS = Limits(max_crashes=3, dead_max=100)
LEASE_MS = 60_000


def claim_as(store: Store, worker: str, count: int = 10, nth: int = 1) -> list[Claim]:
    """Beat and claim."""
    store.run(verbs.beat(worker, LEASE_MS))
    return store.run(verbs.claim(worker, f"{worker}-{nth}", count, 1 << 20)).claims


def start_as(store: Store, worker: str, *claims: Claim) -> list[bool] | None:
    """Record starts."""
    return store.run(verbs.start(worker, NOW_ISO, claims))


def finish_as(store: Store, worker: str, claim: Claim, outcome: verbs.Outcome = "succeeded") -> str:
    """Record an ending; the new state."""
    ending = Ending(claim.run_id, claim.execution, outcome)
    return store.run(verbs.finish(worker, NOW_ISO, NOW_MS, LIMITS, 0.1, [ending]))[0]


def kill(store: Store, worker: str) -> None:
    """What is left of a worker once its lease has run out."""
    store.command("DEL", keys.worker(worker))


def sweep_as(store: Store, sweeper: str = "sweeper") -> verbs.Swept:
    """A live worker sweeps."""
    store.run(verbs.beat(sweeper, LEASE_MS))
    return store.run(verbs.sweep(sweeper, NOW_ISO, NOW_MS, LIMITS, 1000, "{}", ""))


def test_a_run_goes_from_queue_to_history(store: Store) -> None:
    """Claimed, started, finished: RQ's registries and our counters follow each step."""
    place_runs(store, "q1-s-1-1")
    (claim,) = claim_as(store, "w1")
    claimed = run_fields(store, claim.run_id)["state"], counters(store)["queued"]
    assert start_as(store, "w1", claim) == [True]
    started = run_fields(store, claim.run_id), store.command("ZCARD", keys.RQ_STARTED)
    assert finish_as(store, "w1", claim) == "succeeded"

    assert claimed == ("queued", 1)
    assert (started[0]["status"], started[0]["state"], started[0]["attempts"], started[1]) == (
        "started",
        "running",
        "1",
        1,
    )
    ended = run_fields(store, claim.run_id)
    assert (ended["status"], ended["state"], ended["ended_at"]) == ("finished", "succeeded", NOW_ISO)
    assert store.command("ZCARD", keys.RQ_STARTED) == 0
    assert store.command("ZRANGE", keys.RQ_FINISHED, 0, -1) == [b"q1-s-1-1"]
    assert store.command("HLEN", keys.claims("w1")) == 0
    assert counters(store) == {"received": 1, "admitted": 1, "placed": 1, "runs": 1, "succeeded": 1}


def test_a_worker_that_is_not_known_to_live_gets_nothing(store: Store) -> None:
    """Its claims could not be swept: it must beat first, for claims and for starts."""
    place_runs(store, "q1-s-1-1")
    unknown = store.run(verbs.claim("w1", "w1-1", 10, 1 << 20))
    (claim,) = claim_as(store, "w1")
    kill(store, "w1")

    assert unknown.state == "lapsed"
    assert start_as(store, "w1", claim) is None


def test_a_start_is_recorded_once_however_often_it_is_asked_for(store: Store) -> None:
    """The repeat after a lost reply gets the same answer and counts no attempt."""
    place_runs(store, "q2-s-1-1")
    (claim,) = claim_as(store, "w1")

    assert [start_as(store, "w1", claim), start_as(store, "w1", claim)] == [[True], [True]]
    assert run_fields(store, claim.run_id)["attempts"] == "1"


def test_a_finish_is_recorded_once_however_often_it_is_sent(store: Store) -> None:
    """The repeat after a lost reply gets the same answer and counts nothing."""
    place_runs(store, "q1-s-1-1")
    (claim,) = claim_as(store, "w1")
    start_as(store, "w1", claim)

    assert [finish_as(store, "w1", claim), finish_as(store, "w1", claim)] == ["succeeded", "succeeded"]
    assert counters(store)["succeeded"] == 1


def test_failing_twice_in_a_row_of_lost_replies_counts_one_dead_letter(store: Store) -> None:
    """A failed run is in RQ's failed registry and marked as dead once."""
    place_runs(store, "q1-s-1-1")
    (claim,) = claim_as(store, "w1")
    start_as(store, "w1", claim)

    assert [finish_as(store, "w1", claim, "failed"), finish_as(store, "w1", claim, "failed")] == ["failed", "failed"]
    assert counters(store)["failed"] == 1
    assert store.command("ZRANGE", keys.DEAD, 0, -1) == store.command("ZRANGE", keys.RQ_FAILED, 0, -1) == [b"q1-s-1-1"]


def test_claims_read_back_after_a_lost_reply_are_what_was_claimed(store: Store) -> None:
    """Nothing claimed can be lost between verb and caller."""
    place_runs(store, "q1-s-1-1", "q2-s-1-2")
    claims = claim_as(store, "w1")
    start_as(store, "w1", claims[1])
    found = {claim.run_id: claim for claim in store.run(verbs.read_claims("w1"))}

    assert found["q1-s-1-1"] == claims[0]
    assert (found["q2-s-1-2"].execution, found["q2-s-1-2"].stage) == (claims[1].execution, "started")


@pytest.mark.parametrize("run_id, state", [("q0-s-1-1", "lost"), ("q1-s-1-1", "queued"), ("q2-s-1-1", "queued")])
def test_a_worker_that_dies_before_the_start_leaves(store: Store, run_id: str, state: str) -> None:
    """A claim is not a start: QoS 1 and 2 go back to the queue, QoS 0 is lost."""
    place_runs(store, run_id)
    claim_as(store, "w1")
    kill(store, "w1")
    sweep_as(store)

    assert run_fields(store, run_id)["state"] == state
    assert counters(store)[state] == 1
    assert store.command("LLEN", keys.RQ_QUEUE) == (1 if state == "queued" else 0)


@pytest.mark.parametrize("run_id, state", [("q0-s-1-1", "lost"), ("q1-s-1-1", "queued"), ("q2-s-1-1", "interrupted")])
def test_a_worker_that_dies_after_the_start_leaves(store: Store, run_id: str, state: str) -> None:
    """The crash policy of each QoS."""
    place_runs(store, run_id)
    (claim,) = claim_as(store, "w1")
    start_as(store, "w1", claim)
    kill(store, "w1")
    first, second = sweep_as(store), sweep_as(store)

    assert run_fields(store, run_id)["state"] == state
    assert counters(store)[state] == 1
    assert (first.workers, second.workers) == (1, 0)
    assert store.command("ZCARD", keys.RQ_STARTED) == 0
    assert store.command("ZCARD", keys.DEAD) == (1 if state == "interrupted" else 0)


def test_a_run_of_qos_1_that_keeps_crashing_ends_in_the_dead_letters(store: Store) -> None:
    """After max_crashes recorded starts; and it is claimed alone from the first crash on."""
    place_runs(store, "q1-s-1-1", "q1-s-1-2")
    (claim,) = claim_as(store, "w1", count=1)
    states, sizes = [], []
    for nth in range(2, 5):
        start_as(store, "w1", claim)
        states.append(finish_as(store, "w1", claim, "crashed"))
        claims = claim_as(store, "w1", nth=nth)
        sizes.append(len(claims))
        claim = claims[0]

    assert states == ["queued", "queued", "failed"]
    assert sizes == [1, 1, 1]
    assert claim.run_id == "q1-s-1-2"
    assert run_fields(store, "q1-s-1-1")["attempts"] == "3"
    assert store.command("ZRANGE", keys.DEAD, 0, -1) == [b"q1-s-1-1"]


def test_a_stalled_worker_starts_nothing_that_was_swept(store: Store) -> None:
    """The claim is gone, also when another worker has it now."""
    place_runs(store, "q2-s-1-1")
    (claim,) = claim_as(store, "w1")
    kill(store, "w1")
    sweep_as(store)
    (other,) = claim_as(store, "w2")
    start_as(store, "w2", other)
    store.run(verbs.beat("w1", LEASE_MS))

    assert start_as(store, "w1", claim) == [False]
    assert finish_as(store, "w1", claim) == ""
    assert run_fields(store, "q2-s-1-1")["attempts"] == "1"


@pytest.mark.parametrize("run_id, written_off", [("q0-s-1-1", "lost"), ("q2-s-1-1", "interrupted")])
def test_a_late_finish_tells_what_really_happened(store: Store, run_id: str, written_off: str) -> None:
    """A worker that was only stalled turns lost or interrupted into what the run was."""
    place_runs(store, run_id)
    (claim,) = claim_as(store, "w1")
    start_as(store, "w1", claim)
    kill(store, "w1")
    sweep_as(store)
    before = run_fields(store, run_id)["state"]
    after = finish_as(store, "w1", claim)

    assert (before, after) == (written_off, "succeeded")
    assert counters(store)["succeeded"] == 1
    assert written_off not in counters(store)
    assert store.command("ZCARD", keys.DEAD) == store.command("ZCARD", keys.RQ_FAILED) == 0


def test_a_late_finish_of_a_run_that_was_re_driven_changes_nothing(store: Store) -> None:
    """The re-drive is another execution."""
    place_runs(store, "q2-s-1-1")
    (claim,) = claim_as(store, "w1")
    start_as(store, "w1", claim)
    kill(store, "w1")
    sweep_as(store)
    redriven = [store.run(operate.retry("q2-s-1-1", NOW_ISO)) for _ in range(2)]

    assert finish_as(store, "w1", claim) == ""
    assert redriven == ["queued", "not ended badly"]
    assert run_fields(store, "q2-s-1-1")["state"] == "queued"
    assert store.command("LLEN", keys.RQ_QUEUE) == 1


def test_a_re_drive_stands_outside_the_identities(store: Store) -> None:
    """The run stays counted as interrupted, whatever becomes of the re-drive."""
    place_runs(store, "q2-s-1-1")
    (claim,) = claim_as(store, "w1")
    start_as(store, "w1", claim)
    finish_as(store, "w1", claim, "crashed")
    store.run(operate.retry("q2-s-1-1", NOW_ISO))
    (again,) = claim_as(store, "w1", nth=2)
    start_as(store, "w1", again)
    finish_as(store, "w1", again)

    assert run_fields(store, "q2-s-1-1")["state"] == "succeeded"
    assert counters(store) == {"received": 1, "admitted": 1, "placed": 1, "runs": 1, "interrupted": 1}


def test_released_claims_are_at_the_front_of_the_queue_in_their_order(store: Store) -> None:
    """A worker that drains gives back what it has not started."""
    place_runs(store, "q0-s-1-1", "q1-s-1-2", "q2-s-1-3")
    claims = claim_as(store, "w1", count=2)
    start_as(store, "w1", claims[1])

    assert store.run(verbs.release("w1", claims)) == 1
    assert store.command("LRANGE", keys.RQ_QUEUE, 0, -1) == [b"q0-s-1-1", b"q2-s-1-3"]


def test_a_sweeper_that_is_not_known_to_live_settles_nothing(store: Store) -> None:
    """After a restart of Redis nobody is known to live: that must not look like the death of every worker."""
    place_runs(store, "q2-s-1-1")
    claim_as(store, "w1")
    kill(store, "w1")

    assert store.run(verbs.sweep("sweeper", NOW_ISO, NOW_MS, LIMITS, 1000, "{}", "")).workers == -1
    assert store.command("HLEN", keys.claims("w1")) == 1


def test_a_claim_of_another_execution_settles_nothing(store: Store) -> None:
    """A dead worker's record of a start that is not the run's newest, or of a run that has ended."""
    place_runs(store, "q1-s-1-1")
    (claim,) = claim_as(store, "w1")
    start_as(store, "w1", claim)
    store.command("HSET", keys.claims("w2"), claim.run_id, "w2-1-1 started")
    store.command("SADD", keys.WORKERS, "w2")
    sweep_as(store)
    running = run_fields(store, claim.run_id)
    finish_as(store, "w1", claim)
    store.command("HSET", keys.claims("w2"), claim.run_id, f"{claim.execution} started")
    store.command("SADD", keys.WORKERS, "w2")

    assert sweep_as(store).workers == 1
    assert (running["state"], running["execution"]) == ("running", claim.execution)
    assert run_fields(store, claim.run_id)["state"] == "succeeded"
    assert store.command("LLEN", keys.RQ_QUEUE) == 0
    assert counters(store)["succeeded"] == 1


def test_a_cancelled_run_is_not_started_and_is_counted(store: Store) -> None:
    """What RQ's own cancel leaves behind is adopted by the sweep."""
    place_runs(store, "q1-s-1-1")
    (claim,) = claim_as(store, "w1")
    store.command("HSET", "rq:job:q1-s-1-1", "status", "canceled")
    store.command("ZADD", keys.RQ_CANCELED, -1, "q1-s-1-1")
    started = start_as(store, "w1", claim)
    sweep_as(store)
    sweep_as(store)

    assert started == [False]
    assert run_fields(store, "q1-s-1-1")["state"] == "cancelled"
    assert counters(store)["cancelled"] == 1


def test_a_claim_stops_at_a_number_of_bytes(store: Store) -> None:
    """A worker must not be handed more than it can hold."""
    place_runs(store, "q1-s-1-1", "q1-s-1-2", "q1-s-1-3")
    store.run(verbs.beat("w1", LEASE_MS))

    assert len(store.run(verbs.claim("w1", "w1-1", 10, 1)).claims) == 1


def test_a_claim_looks_past_what_is_dropped(store: Store) -> None:
    """However few it asks for; a few hundred at a time, because Redis answers nobody else meanwhile."""
    ids = [f"q1-s-1-{n}" for n in range(701)]
    place_runs(store, *ids)
    for n, run_id in enumerate(ids[:700]):
        if n % 2:
            store.command("HSET", keys.job(run_id), "expires", 1)
        else:
            store.run(operate.cancel(run_id, NOW_ISO, NOW_MS, "test", ""))
    store.run(verbs.beat("w1", LEASE_MS))

    assert store.run(verbs.claim("w1", "w1-1", 1, 1 << 20)).claims == []
    (claim,) = store.run(verbs.claim("w1", "w1-2", 1, 1 << 20)).claims
    assert claim.run_id == ids[700]
    assert (counters(store)["expired"], counters(store)["cancelled"]) == (350, 350)


def test_nothing_is_claimed_while_rq_is_suspended(store: Store) -> None:
    """RQ's suspend command holds our workers too."""
    place_runs(store, "q1-s-1-1")
    store.run(verbs.beat("w1", LEASE_MS))
    store.command("SET", keys.RQ_SUSPENDED, 1)

    assert store.run(verbs.claim("w1", "w1-1", 10, 1 << 20)).state == "suspended"


def test_retention_forgets_the_oldest_by_count_and_by_age_and_no_counter(store: Store) -> None:
    """In steps; live runs are never touched."""
    ids = [f"q1-s-1-{n}" for n in range(1, 7)]
    place_runs(store, *ids)
    for nth, claim in enumerate(claim_as(store, "w1", count=5)):
        start_as(store, "w1", claim)
        ending = [Ending(claim.run_id, claim.execution, "succeeded")]
        store.run(verbs.finish("w1", NOW_ISO, NOW_MS + nth * 1000, LIMITS, 0.1, ending))
    step = store.run(verbs.prune(keys.RQ_FINISHED, 3, 0, 1)).count
    by_count = store.run(verbs.prune(keys.RQ_FINISHED, 3, 0, 100)).count
    by_age = store.run(verbs.prune(keys.RQ_FINISHED, 3, NOW_MS / 1000 + 3.5, 100)).count

    assert (step, by_count, by_age) == (1, 1, 2)
    left = {name.decode() for name in store.command("KEYS", "rq:job:*")}
    assert left == {"rq:job:q1-s-1-5", "rq:job:q1-s-1-6"}
    assert store.command("ZCARD", keys.RUNS) == store.command("ZCARD", keys.runs("f/demo/hello")) == 2
    assert counters(store)["succeeded"] == 5
