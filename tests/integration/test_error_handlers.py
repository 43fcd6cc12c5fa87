"""Error handlers by a real worker: called once for each run that has ended badly, with Windmill's arguments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shared import history, keys
from shared.retry_policy import ConstantRetry, Retry
from shared.run_page import page
from shared.scripts import worker as verbs
from shared.scripts.operate import MadeRun
from shared.scripts.worker import Ending, Limits
from shared.store import Store
from tests.support.eventually import eventually
from tests.support.factories import NOW_ISO, NOW_MS, counters, run_fields
from tests.support.failing import HANDLER, SCRIPT, Book, deploy_script, deploy_trigger, handler_of, printed, queue
from tests.support.processes import HeadraceProcess
from tests.support.workers import FAST, last_attempt, states

StartProcess = Callable[..., HeadraceProcess]
RUN = "q1-s-1-1"
LIMITS = Limits(max_crashes=3, dead_max=100)


@pytest.fixture
def book(tmp_path: Path) -> Book:
    """What the scripts of this test execute."""
    return Book(tmp_path)


@pytest.fixture
def worker(headrace: StartProcess, redis_url: str) -> HeadraceProcess:
    """A worker that is ready."""
    return headrace("worker", REDIS_URL=redis_url, **FAST).wait_ready()


def run_and_fail(store: Store, book: Book, run_id: str = RUN, handler: str = "None", **args: object) -> None:
    """A run that fails, and its error handler."""
    script = deploy_script(store, SCRIPT, book.failing(99))
    handling = deploy_script(store, HANDLER, book.handling(handler))
    queue(store, script, deploy_trigger(store, script, None, handling, **args), run_id, handled=True)


def test_the_handler_of_a_trigger_gets_windmills_arguments(store: Store, worker: HeadraceProcess, book: Book) -> None:
    """And the trigger's own, which win over the others."""
    run_and_fail(store, book, channel="ops", email="nobody@example.org")

    eventually(lambda: states(store, handler_of(RUN)) == ["succeeded"])
    given = printed(last_attempt(store, handler_of(RUN))["log"])
    error = given.pop("error")
    assert (error["name"], error["message"], error["step_id"]) == ("ValueError", "too hot", "a")
    assert "f/t/script.py" in error["stack"]
    assert given.pop("started_at") == run_fields(store, RUN)["started_at"]
    assert given == {
        "path": SCRIPT,
        "is_flow": False,
        "trigger_path": "mqtt_trigger/f/demo/hello",
        "workspace_id": "headrace",
        "email": "nobody@example.org",
        "job_id": RUN,
        "channel": "ops",
    }
    assert worker.running


def test_the_run_stays_failed_and_both_are_recorded(store: Store, worker: HeadraceProcess, book: Book) -> None:
    """The handler's run is a child, outside of the books."""
    run_and_fail(store, book)

    eventually(lambda: states(store, handler_of(RUN)) == ["succeeded"])
    shown = history.show(store, handler_of(RUN))
    assert f"the error handler of run {RUN}" in page(shown)
    assert (shown.origin, shown.parent, shown.run.source) == ("handler", RUN, "handler")
    assert states(store, RUN) == ["failed"]
    assert store.command("ZRANGE", keys.children(RUN), 0, -1) == [handler_of(RUN).encode()]
    assert store.command("ZRANGE", keys.DEAD, 0, -1) == [RUN.encode()]
    assert counters(store) == {"received": 1, "admitted": 1, "placed": 1, "runs": 1, "failed": 1}
    assert worker.running


def test_it_is_called_after_the_last_retry(store: Store, worker: HeadraceProcess, book: Book) -> None:
    """Not after each."""
    script = deploy_script(store, SCRIPT, book.failing(99))
    handling = deploy_script(store, HANDLER, book.handling())
    version = deploy_trigger(store, script, Retry(ConstantRetry(2, 0)), handling)
    queue(store, script, version, RUN, handled=True)

    eventually(lambda: book.handled(RUN) == 1)
    assert (book.executed(RUN), states(store, RUN)) == (3, ["failed"])
    assert worker.running


def test_a_handler_that_says_so_makes_the_run_succeed(store: Store, worker: HeadraceProcess, book: Book) -> None:
    """Windmill's `recover`: state, RQ's status and registries, dead letters and counters follow."""
    run_and_fail(store, book, handler="{'recover': True, 'note': 'reset'}")

    eventually(lambda: states(store, RUN) == ["succeeded"])
    fields = run_fields(store, RUN)
    shown = history.show(store, RUN)
    assert "recovered by its error handler" in page(shown)
    assert shown.run.error is None
    assert (fields["status"], fields["recovered_by"]) == ("finished", handler_of(RUN))
    assert store.command("ZCARD", keys.DEAD) == store.command("ZCARD", keys.RQ_FAILED) == 0
    assert store.command("ZSCORE", keys.RQ_FINISHED, RUN) is not None
    assert counters(store) == {"received": 1, "admitted": 1, "placed": 1, "runs": 1, "succeeded": 1}
    assert worker.running


@pytest.mark.parametrize("result", ["{'recover': 'yes'}", "{'recover': False}", "'recover'", "[True]"])
def test_only_true_recovers(store: Store, worker: HeadraceProcess, book: Book, result: str) -> None:
    """Nothing that is merely like it."""
    run_and_fail(store, book, handler=result)

    eventually(lambda: states(store, handler_of(RUN)) == ["succeeded"])
    assert states(store, RUN) == ["failed"]
    assert worker.running


def test_a_handler_that_fails_is_a_dead_letter_and_nothing_is_called_for_it(
    store: Store, worker: HeadraceProcess, book: Book
) -> None:
    """Never a loop."""
    run_and_fail(store, book, handler="1 / 0")

    eventually(lambda: states(store, handler_of(RUN)) == ["failed"])
    assert sorted(store.command("ZRANGE", keys.DEAD, 0, -1)) == sorted([RUN.encode(), handler_of(RUN).encode()])
    assert store.command("LLEN", keys.HANDLERS) == store.command("LLEN", keys.RQ_QUEUE) == 0
    assert (book.handled(RUN), states(store, RUN)) == (1, ["failed"])
    assert worker.running


def test_what_code_has_raised_is_never_taken_for_a_reference(store: Store, worker: HeadraceProcess, book: Book) -> None:
    """An error may hold what came from a broker: it must not fetch a secret."""
    script = deploy_script(store, SCRIPT, book.failing(99, error="ValueError('$var:f/t/secret')"))
    handling = deploy_script(store, HANDLER, book.handling())
    queue(store, script, deploy_trigger(store, script, None, handling), RUN, handled=True)

    eventually(lambda: states(store, handler_of(RUN)) == ["succeeded"])
    assert printed(last_attempt(store, handler_of(RUN))["log"])["error"]["message"] == "$var:f/t/secret"
    assert worker.running


@pytest.mark.parametrize("run_id, state", [("q0-s-1-1", "lost"), ("q2-s-1-1", "interrupted")])
def test_it_is_called_for_what_a_dead_worker_has_left(
    store: Store, headrace: StartProcess, redis_url: str, book: Book, run_id: str, state: str
) -> None:
    """With the error that the sweep has recorded."""
    script = deploy_script(store, SCRIPT, book.failing(0, before="import time; time.sleep(60)"))
    handling = deploy_script(store, HANDLER, book.handling())
    queue(store, script, deploy_trigger(store, script, None, handling), run_id, handled=True)
    first = headrace("worker", REDIS_URL=redis_url, **FAST).wait_ready()
    eventually(lambda: book.executed(run_id) == 1)
    first.kill9()
    headrace("worker", REDIS_URL=redis_url, **FAST).wait_ready()

    eventually(lambda: states(store, handler_of(run_id)) == ["succeeded"], timeout_s=20)
    error = printed(last_attempt(store, handler_of(run_id))["log"])["error"]
    assert (error["name"], states(store, run_id)) == ("WorkerDied", [state])


def failed_by_hand(store: Store, book: Book) -> str:
    """A run that a worker which exists only here has failed; the version of its trigger."""
    script = deploy_script(store, SCRIPT, book.failing(99))
    version = deploy_trigger(store, script, None, deploy_script(store, HANDLER, book.handling()))
    queue(store, script, version, RUN, handled=True)
    store.run(verbs.beat("w1", 60_000))
    (claim,) = store.run(verbs.claim("w1", "w1-1", 1, 1 << 20)).claims
    store.run(verbs.start("w1", NOW_ISO, [claim]))
    ending = Ending(RUN, claim.execution, "failed", error='{"name": "E", "message": "m"}')
    assert store.run(verbs.finish("w1", NOW_ISO, NOW_MS, LIMITS, 0, [ending])) == ["failed"]
    assert store.command("LRANGE", keys.HANDLERS, 0, -1) == [RUN.encode()]
    return version


def test_a_run_that_waits_for_its_handler_waits_through_the_death_of_every_worker(
    store: Store, headrace: StartProcess, redis_url: str, book: Book
) -> None:
    """It was put on the list in the step that failed it."""
    failed_by_hand(store, book)
    workers = [headrace("worker", REDIS_URL=redis_url, **FAST) for _ in range(2)]
    for worker in workers:
        worker.wait_ready()

    eventually(lambda: states(store, handler_of(RUN)) == ["succeeded"])
    assert (book.handled(RUN), store.command("LLEN", keys.HANDLERS)) == (1, 0)


def test_a_handler_that_cannot_be_called_is_told_of_and_waits_no_longer(
    store: Store, headrace: StartProcess, redis_url: str, book: Book
) -> None:
    """Its trigger's version is gone: somebody has changed Redis by hand."""
    store.command("HDEL", keys.DEFINITIONS, failed_by_hand(store, book))
    worker = headrace("worker", REDIS_URL=redis_url, **FAST).wait_ready()

    eventually(lambda: store.command("LLEN", keys.HANDLERS) == 0)
    assert "run.unhandled" in worker.output
    assert store.command("EXISTS", keys.job(handler_of(RUN))) == 0


def test_a_handler_is_created_once_and_not_for_what_is_on_its_way_again(store: Store, book: Book) -> None:
    """However often it is asked for."""
    failed_by_hand(store, book)
    run = MadeRun(handler_of(RUN), b"", "", 60, "handler")

    def create() -> bool:
        return store.run(verbs.create_handler(RUN, run, NOW_ISO, NOW_MS * 1000))

    first, again = create(), create()
    store.command("RPUSH", keys.HANDLERS, RUN)
    listed_again = create()
    store.commands(
        [("DEL", keys.job(run.id)), ("RPUSH", keys.HANDLERS, RUN), ("HSET", keys.job(RUN), "status", "queued")]
    )
    redriven = create()

    assert (first, again, listed_again, redriven) == (True, False, False, False)
    assert store.command("LLEN", keys.HANDLERS) == 0
