"""Retries by a real worker: code that fails is tried again when its policy says, under one id, and only then."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis
from rq import Queue
from rq.registry import ScheduledJobRegistry
from rq.scheduler import RQScheduler

from shared import history, keys
from shared.retry_policy import ConstantRetry, Retry
from shared.run_page import page
from shared.scripts import worker as verbs
from shared.store import Store
from tests.support.eventually import eventually
from tests.support.factories import NOW_ISO, counters, run_fields
from tests.support.failing import SCRIPT, Book, deploy_script, deploy_trigger, due_in_s, queue
from tests.support.processes import HeadraceProcess
from tests.support.valkey import ValkeyServer
from tests.support.workers import FAST, last_attempt, states
from worker.rq_worker import MsgpackSerializer

StartProcess = Callable[..., HeadraceProcess]
SOON = Retry(ConstantRetry(3, 0))
LATE = Retry(ConstantRetry(1, 3600))
RUN = "q1-s-1-1"


@pytest.fixture
def book(tmp_path: Path) -> Book:
    """What the scripts of this test execute."""
    return Book(tmp_path)


@pytest.fixture
def worker(headrace: StartProcess, redis_url: str) -> HeadraceProcess:
    """A worker that is ready."""
    return headrace("worker", REDIS_URL=redis_url, **FAST).wait_ready()


@pytest.mark.parametrize("run_id", ["q0-s-1-1", "q1-s-1-1", "q2-s-1-1"])
def test_code_that_fails_is_tried_again_until_it_succeeds(
    store: Store, worker: HeadraceProcess, book: Book, run_id: str
) -> None:
    """At every QoS: one run with one id, three attempts with error and log of their own, counted once."""
    script = deploy_script(store, SCRIPT, book.failing(2))
    queue(store, script, deploy_trigger(store, script, SOON), run_id)

    eventually(lambda: states(store, run_id) == ["succeeded"])
    shown = history.show(store, run_id)
    assert [attempt.outcome for attempt in shown.attempts] == ["failed", "failed", "succeeded"]
    assert [attempt.log for attempt in shown.attempts] == ["try 1\n", "try 2\n", "try 3\n"]
    assert [attempt.error and attempt.error["name"] for attempt in shown.attempts] == ["ValueError", "ValueError", None]
    fields = run_fields(store, run_id)
    assert (fields["attempts"], fields["retries"], shown.run.error) == ("3", "2", None)
    assert counters(store) == {"received": 1, "admitted": 1, "placed": 1, "runs": 1, "succeeded": 1}
    assert store.command("ZCARD", keys.DEAD) == store.command("ZCARD", keys.RQ_SCHEDULED) == 0
    assert worker.running


def test_after_its_last_retry_a_run_has_failed(store: Store, worker: HeadraceProcess, book: Book) -> None:
    """Three retries are four attempts, and one dead letter."""
    script = deploy_script(store, SCRIPT, book.failing(99))
    queue(store, script, deploy_trigger(store, script, SOON), RUN)

    eventually(lambda: states(store, RUN) == ["failed"])
    assert (run_fields(store, RUN)["attempts"], book.executed(RUN)) == ("4", 4)
    assert store.command("ZRANGE", keys.DEAD, 0, -1) == [RUN.encode()]
    assert counters(store)["failed"] == 1
    assert worker.output.count("retry_in_s") == 3


def test_a_script_has_a_policy_of_its_own_for_triggers_that_have_none(
    store: Store, worker: HeadraceProcess, book: Book
) -> None:
    """The trigger's goes before it: one with no attempts means none."""
    script = deploy_script(store, SCRIPT, book.failing(99), retry=Retry(ConstantRetry(1, 0)))
    queue(store, script, deploy_trigger(store, script), RUN)
    queue(store, script, deploy_trigger(store, script, Retry()), "q1-s-1-2")

    eventually(lambda: states(store, RUN, "q1-s-1-2") == ["failed", "failed"])
    assert (book.executed(RUN), book.executed("q1-s-1-2")) == (2, 1)
    assert worker.running


@pytest.mark.parametrize(
    "condition, attempts",
    [
        ("error.name == 'ValueError'", 4),
        ("error.name != 'ValueError'", 1),
        ("result.error.message.includes('hot') && previous_result.error.stack.length > 0", 4),
        ("flow_input.payload == 'Z28='", 4),
        ("flow_input.payload == 'other'", 1),
        ("[]", 4),
        ("flow_env.nothing", 1),
    ],
)
def test_retry_if_decides_before_each_retry(
    store: Store, worker: HeadraceProcess, book: Book, condition: str, attempts: int
) -> None:
    """With Windmill's variables, by JavaScript's idea of truth."""
    script = deploy_script(store, SCRIPT, book.failing(99))
    policy = Retry(ConstantRetry(3, 0), retry_if=condition)
    queue(store, script, deploy_trigger(store, script, policy), RUN)

    eventually(lambda: states(store, RUN) == ["failed"])
    assert book.executed(RUN) == attempts
    assert worker.running


def test_a_condition_that_fails_means_no_retry_and_the_attempt_says_so(
    store: Store, worker: HeadraceProcess, book: Book
) -> None:
    """Nobody finds it in a log of the worker's."""
    script = deploy_script(store, SCRIPT, book.failing(99))
    queue(store, script, deploy_trigger(store, script, Retry(ConstantRetry(3, 0), retry_if="nothing.there")), RUN)

    eventually(lambda: states(store, RUN) == ["failed"])
    message = last_attempt(store, RUN)["error"]["message"]
    assert message.startswith("too hot (not tried again: retry_if: expression nothing.there")
    assert worker.running


def test_a_time_out_is_tried_again_and_what_cannot_be_executed_is_not(
    store: Store, worker: HeadraceProcess, book: Book
) -> None:
    """A policy is for code."""
    slow = deploy_script(store, SCRIPT, book.failing(0, before="import time; time.sleep(60)"), timeout_s=1)
    queue(store, slow, deploy_trigger(store, slow, Retry(ConstantRetry(1, 0))), RUN)
    nowhere = deploy_script(store, "f/t/other", book.failing(0), retry=SOON)
    store.command("HDEL", keys.DEFINITIONS, nowhere.version)
    queue(store, nowhere, deploy_trigger(store, nowhere, SOON), "q1-s-1-2")

    eventually(lambda: states(store, RUN, "q1-s-1-2") == ["failed", "failed"])
    assert (book.executed(RUN), run_fields(store, "q1-s-1-2")["attempts"]) == (2, "1")
    assert worker.running


def test_a_retry_keeps_its_time_over_kill_9_of_worker_and_redis(
    headrace: StartProcess, own_valkey: ValkeyServer, book: Book
) -> None:
    """The time is in Redis, in whole: who scheduled it need not live."""
    store = Store.connect(own_valkey.url)
    script = deploy_script(store, SCRIPT, book.failing(1))
    queue(store, script, deploy_trigger(store, script, Retry(ConstantRetry(1, 4))), "q2-s-1-1")
    first = headrace("worker", REDIS_URL=own_valkey.url, **FAST).wait_ready()
    eventually(lambda: states(store, "q2-s-1-1") == ["scheduled"])
    score = store.command("ZSCORE", keys.RQ_SCHEDULED, "q2-s-1-1")
    first.kill9()
    own_valkey.kill9()
    own_valkey.start()
    store = Store.connect(own_valkey.url)
    assert store.command("ZSCORE", keys.RQ_SCHEDULED, "q2-s-1-1") == score
    headrace("worker", REDIS_URL=own_valkey.url, **FAST).wait_ready()

    eventually(lambda: states(store, "q2-s-1-1") == ["succeeded"], timeout_s=20)
    queued_at = run_fields(store, "q2-s-1-1")["enqueued_at"]
    assert book.executed("q2-s-1-1") == 2
    assert queued_at > run_fields(store, "q2-s-1-1")["created_at"]


def test_the_newest_ten_attempts_are_kept_and_all_are_counted(
    store: Store, worker: HeadraceProcess, book: Book
) -> None:
    """A policy may ask for a thousand."""
    script = deploy_script(store, SCRIPT, book.failing(12))
    queue(store, script, deploy_trigger(store, script, Retry(ConstantRetry(20, 0))), RUN)

    eventually(lambda: states(store, RUN) == ["succeeded"], timeout_s=30)
    shown = history.show(store, RUN)
    assert (shown.run.attempts, len(shown.attempts)) == (13, 10)
    assert [attempt.log for attempt in shown.attempts] == [f"try {n}\n" for n in range(4, 14)]
    assert worker.running


def scheduled(store: Store, worker: HeadraceProcess, book: Book, run_id: str = RUN) -> None:
    """A run that is to be tried again in an hour, and no worker any more."""
    script = deploy_script(store, SCRIPT, book.failing(1))
    queue(store, script, deploy_trigger(store, script, LATE), run_id)
    eventually(lambda: states(store, run_id) == ["scheduled"])
    worker.kill9()


def test_rqs_tools_see_what_is_scheduled(store: Store, worker: HeadraceProcess, book: Book, redis_url: str) -> None:
    """In their own registry, with its time; the job hash agrees."""
    scheduled(store, worker, book)
    connection = redis.Redis.from_url(redis_url)
    registry = ScheduledJobRegistry(keys.QUEUE, connection=connection, serializer=MsgpackSerializer)

    assert registry.get_job_ids() == [RUN]
    assert 3500 < due_in_s(store, RUN) <= 3600
    assert "scheduled, to be tried again at" in page(history.show(store, RUN))
    assert registry.get_scheduled_time(RUN).year >= 2026
    assert run_fields(store, RUN)["status"] == "scheduled"


def test_rqs_own_scheduler_never_gets_our_queue(
    store: Store, worker: HeadraceProcess, book: Book, redis_url: str
) -> None:
    """It reads what is due and enqueues it without a fence; the workers hold its lock for good."""
    scheduled(store, worker, book)
    connection = redis.Redis.from_url(redis_url)
    scheduler = RQScheduler([Queue(keys.QUEUE, connection=connection)], connection=connection)

    assert scheduler.acquire_locks() == set()
    store.command("ZADD", keys.RQ_SCHEDULED, 1, RUN)
    scheduler.enqueue_scheduled_jobs()
    assert states(store, RUN) == ["scheduled"]
    assert store.command("LLEN", keys.RQ_QUEUE) == 0


def test_a_run_that_somebody_has_queued_by_rqs_means_runs_once_and_the_books_hold(
    store: Store, worker: HeadraceProcess, book: Book
) -> None:
    """Also if it is put into the queue twice, and a third time while it runs."""
    scheduled(store, worker, book, "q2-s-1-1")
    store.command("HSET", keys.job("q2-s-1-1"), "status", "queued")
    store.commands([("RPUSH", keys.RQ_QUEUE, "q2-s-1-1")] * 2)
    store.run(verbs.beat("w1", 60_000))
    first = store.run(verbs.claim("w1", "w1-1", 1, 1 << 20)).claims
    assert store.run(verbs.start("w1", NOW_ISO, first)) == [True]
    store.command("HSET", keys.job("q2-s-1-1"), "status", "queued")
    again = store.run(verbs.claim("w1", "w1-2", 10, 1 << 20)).claims

    assert again == []
    assert run_fields(store, "q2-s-1-1")["status"] == "started"
    assert counters(store)["running"] == 1
    assert "scheduled" not in counters(store)
    assert store.command("ZCARD", keys.RQ_SCHEDULED) == 0


def test_four_workers_that_promote_at_once_queue_each_run_once(redis_url: str, store: Store) -> None:
    """Whoever removes it from the registry queues it."""
    ids = [f"q1-s-1-{n}" for n in range(200)]
    for run_id in ids:
        store.command("HSET", keys.job(run_id), "status", "scheduled", "state", "scheduled", "source", "api")
        store.command("ZADD", keys.RQ_SCHEDULED, 1, run_id)

    def promote_all(_worker: int) -> int:
        own = Store.connect(redis_url)
        return sum(own.run(verbs.promote(NOW_ISO, 7)).queued for _ in range(40))

    with ThreadPoolExecutor(4) as workers:
        queued = list(workers.map(promote_all, range(4)))

    assert sum(queued) == 200
    assert sorted(store.command("LRANGE", keys.RQ_QUEUE, 0, -1)) == sorted(run_id.encode() for run_id in ids)
