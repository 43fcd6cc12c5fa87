"""Runs that no message made: created once, cancelled once, outside the identities, shown by the commands."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from typing import Any

import pytest
from msgspec import msgpack
from rq.job import Job

from shared import keys
from shared.clock import iso_utc
from shared.create_runs import Family, make_run
from shared.scripts.operate import MadeRun, cancel, create_runs, retry
from shared.scripts.worker import Ending, Limits, Outcome, beat, claim, finish, start
from shared.store import Store
from tests.support.command_line import CommandLine
from tests.support.factories import NOW_ISO, NOW_MS, RUNNABLE, counters, place_runs, run_fields
from tests.support.valkey import ValkeyServer
from worker.rq_worker import MsgpackSerializer

PARENT = "q1-abcdefgh-1-1"
WORKER = "0123abcd"
LIMITS = Limits(3, 1000)


@pytest.fixture
def command(redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """The command line on that server."""
    return CommandLine(redis_url, monkeypatch, capsys)


def create(store: Store, *runs: MadeRun) -> int:
    """Queue them."""
    now_ns = time.time_ns()
    return store.run(create_runs(runs, iso_utc(now_ns), now_ns // 1000))


def child(args: bytes = b'{"t": 21.5}') -> MadeRun:
    """A run that another one started."""
    return make_run(RUNNABLE.path, RUNNABLE.version, 60, args, "child", Family(PARENT, "q1-abcdefgh-1-0"))


def begin(store: Store, run_id: str) -> str:
    """Claim the only run in the queue and record its start; the execution id."""
    store.run(beat(WORKER, 60_000))
    (held,) = store.run(claim(WORKER, f"{WORKER}-1", 10, 1_000_000)).claims
    assert held.run_id == run_id
    assert store.run(start(WORKER, NOW_ISO, [held])) == [True]
    return held.execution


def end(store: Store, run_id: str, execution: str, outcome: Outcome = "succeeded", **texts: Any) -> list[str]:
    """Record how it ended."""
    ending = Ending(run_id, execution, outcome, **texts)
    return store.run(finish(WORKER, NOW_ISO, NOW_MS, LIMITS, 0.0, [ending]))


def test_a_run_is_created_once_however_often_it_is_asked_for(store: Store) -> None:
    """A lost reply may be repeated."""
    run = child()

    assert (create(store, run), create(store, run)) == (1, 0)
    assert store.command("LRANGE", keys.RQ_QUEUE, 0, -1) == [run.id.encode()]
    assert run.id.startswith("q2-api-")


def test_it_is_listed_under_its_parent_and_under_the_first_of_the_line(store: Store) -> None:
    """So that a run finds what it has started, and what that has started."""
    run = child()
    create(store, run)

    assert store.command("ZRANGE", keys.children(PARENT), 0, -1) == [run.id.encode()]
    assert store.command("ZRANGE", keys.children("q1-abcdefgh-1-0"), 0, -1) == [run.id.encode()]


def test_it_stands_outside_the_identities(store: Store) -> None:
    """From its start to its dead letter no counter of any trigger moves."""
    run = child()
    create(store, run)
    execution = begin(store, run.id)

    assert end(store, run.id, execution, "failed", error='{"name": "E", "message": "m"}') == ["failed"]
    assert store.command("ZSCORE", keys.DEAD, run.id) is not None
    assert store.run(retry(run.id, NOW_ISO)) == "queued"
    assert store.command("KEYS", "headrace:counters*") == []


def test_rqs_tools_work_on_it(store: Store, valkey: ValkeyServer) -> None:
    """Its record is an RQ job like any other: looked at, queued again, its result read."""
    run = child()
    create(store, run)

    with valkey.client() as client:
        job = Job.fetch(run.id, connection=client, serializer=MsgpackSerializer)
        assert (job.get_status(), job.func_name, job.origin) == ("queued", "headrace.run", keys.QUEUE)
        end(store, run.id, begin(store, run.id), "failed", error='{"name": "E", "message": "m"}')
        assert job.get_status() == "failed"
        job.requeue()
        end(store, run.id, begin(store, run.id), result=b64encode(msgpack.encode({"t": 1})).decode())
        assert (job.get_status(), job.return_value()) == ("finished", {"t": 1})


def test_a_queued_run_is_cancelled_at_once(store: Store) -> None:
    """It is never started; a repeat changes nothing, and RQ sees it among the cancelled."""
    run = child()
    create(store, run)

    assert store.run(cancel(run.id, NOW_ISO, NOW_MS, "run x", "not needed")) == "queued"
    assert store.run(cancel(run.id, NOW_ISO, NOW_MS, "run y", "")) == "cancelled"
    fields = run_fields(store, run.id)
    assert (fields["state"], fields["status"], fields["cancelled_by"]) == ("cancelled", "canceled", "run x")
    store.run(beat(WORKER, 60_000))
    assert store.run(claim(WORKER, f"{WORKER}-1", 10, 1_000_000)).claims == []
    assert store.command("ZSCORE", keys.RQ_CANCELED, run.id) is not None


def test_a_run_that_is_cancelled_after_its_claim_does_not_start(store: Store) -> None:
    """A claim is not a start."""
    run = child()
    create(store, run)
    store.run(beat(WORKER, 60_000))
    held = store.run(claim(WORKER, f"{WORKER}-1", 10, 1_000_000)).claims

    assert store.run(cancel(run.id, NOW_ISO, NOW_MS, "run x", "")) == "queued"
    assert store.run(start(WORKER, NOW_ISO, held)) == [False]


def test_the_worker_of_a_run_that_is_executed_is_told_to_stop_it(store: Store, valkey: ValkeyServer) -> None:
    """By RQ's own command. Redis changes nothing by itself: the worker records how it ended."""
    run = child()
    create(store, run)
    begin(store, run.id)
    with valkey.client() as client, client.pubsub() as listener:
        listener.subscribe(f"rq:pubsub:{WORKER}")
        listener.get_message(timeout=5)
        state = store.run(cancel(run.id, NOW_ISO, NOW_MS, "run x", "enough"))
        told = listener.get_message(timeout=5)

    assert state == "running"
    assert json.loads(told["data"]) == {"command": "stop-job", "job_id": run.id}
    assert run_fields(store, run.id)["state"] == "running"


def test_what_has_ended_or_never_was_is_not_cancelled(store: Store) -> None:
    """Its state is answered, nothing is changed."""
    run = child()
    create(store, run)
    end(store, run.id, begin(store, run.id))

    assert store.run(cancel(run.id, NOW_ISO, NOW_MS, "run x", "")) == "succeeded"
    assert store.run(cancel("q2-api-unknown", NOW_ISO, NOW_MS, "run x", "")) == ""
    assert store.command("EXISTS", keys.job("q2-api-unknown")) == 0


def test_a_queued_run_of_a_message_is_counted_as_cancelled(store: Store) -> None:
    """The third identity goes on holding."""
    place_runs(store, PARENT)

    assert store.run(cancel(PARENT, NOW_ISO, NOW_MS, "a person", "")) == "queued"
    assert counters(store)["cancelled"] == 1
    assert "queued" not in counters(store)


def test_the_commands_show_its_arguments_and_where_it_comes_from(store: Store, command: CommandLine) -> None:
    """`runs --json` has the keys that it always has, `runs show` the rest."""
    run = child()
    create(store, run)

    assert command("runs").out == "no runs\n"
    listed = json.loads(command("runs", "--steps", "--json").out)
    assert (listed["id"], listed["trigger"], listed["topic"], listed["source"]) == (run.id, "", None, "child")
    assert "args" not in listed
    shown = json.loads(command("runs", "show", run.id, "--json").out)
    assert (shown["args"], shown["origin"], shown["parent"]) == ({"t": 21.5}, "child", PARENT)
    page = command("runs", "show", run.id).out
    assert f"started by run {PARENT}" in page
    assert '"t": 21.5' in page
    assert run.id in command("runs", "--source", "child").out
