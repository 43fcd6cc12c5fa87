"""Runs that wait because their trigger was suspended: placed, released, discarded, each exactly once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import redis
from rq.job import Job

from shared import keys, suspended
from shared.definitions import Script, Topic, encode_definition
from shared.doctor import check_registries
from shared.runs import decode_job
from shared.scripts import worker as verbs
from shared.scripts.operate import deploy
from shared.scripts.worker import Limits
from shared.status import read_status
from shared.store import Store
from tests.support.eventually import eventually
from tests.support.factories import (
    NOW_ISO,
    NOW_MS,
    ON_RECORD,
    RUNNABLE,
    TRIGGER,
    HeldSession,
    counters,
    make_envelope,
    make_trigger,
    run_fields,
)
from tests.support.processes import HeadraceProcess
from worker.rq_worker import MsgpackSerializer

Start = Callable[..., HeadraceProcess]
QUICK = {"HEADRACE_DISPATCH__CLAIM_IDLE_MS": "500", "HEADRACE_DISPATCH__BLOCK_MS": "100"}


class Pausable:
    """A trigger for demo/# that can be suspended, and its messages."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.store = Store.connect(url)
        self.number = 0
        self.versions: dict[str, str] = {}
        self.set("enabled")
        self.held = HeldSession(self.store)

    def set(self, mode: str) -> None:
        """Deploy it with this mode."""
        changed = {"enabled": mode != "disabled", "suspended": mode == "suspended"}
        version, blob = encode_definition(make_trigger(Topic("demo/#", 1), **changed))
        call = deploy(self.number, ON_RECORD, {version: blob}, {f"trigger:{TRIGGER}": version}, [])
        self.number = self.store.run(call)
        self.versions[mode] = version

    def delete(self) -> None:
        """Deploy nothing any more."""
        self.number = self.store.run(deploy(self.number, ON_RECORD, {}, {}, [f"trigger:{TRIGGER}"]))

    def admit(self, count: int, mode: str, qos: int = 1) -> None:
        """Messages, received while the trigger had this mode."""
        self.held.admit(*[make_envelope(trigger_version=self.versions[mode], qos=qos) for _ in range(count)])

    def wait(self, **cells: int) -> None:
        """Until these cells are so, and the books balance."""
        eventually(lambda: {cell: counters(self.store).get(cell, 0) for cell in cells} == cells)
        assert all(identity.holds for identity in read_status(self.store, self.url).identities)

    def queue(self) -> list[str]:
        """Ids in the order of the queue."""
        return [each.decode() for each in self.store.command("LRANGE", keys.RQ_QUEUE, 0, -1)]

    def waiting(self) -> list[str]:
        """Ids that wait, oldest first; RQ has to agree."""
        ids = [each.decode() for each in self.store.command("ZRANGE", keys.suspended(TRIGGER), 0, -1)]
        assert set(self.store.command("ZRANGE", keys.RQ_DEFERRED, 0, -1)) == {each.encode() for each in ids}
        assert all(run_fields(self.store, each)["status"] == "deferred" for each in ids)
        return ids


@pytest.fixture
def world(redis_url: str) -> Iterator[Pausable]:
    """On the shared server, emptied."""
    made = Pausable(redis_url)
    yield made
    made.store.close()


@pytest.fixture
def paused(world: Pausable, redis_url: str, headrace: Start) -> Pausable:
    """With five suspended runs."""
    headrace("dispatch", REDIS_URL=redis_url, **QUICK).wait_ready()
    world.set("suspended")
    world.admit(5, "suspended")
    world.wait(suspended=5, inbox=0)
    return world


def test_the_mode_of_the_moment_of_placing_counts(world: Pausable, redis_url: str, headrace: Start) -> None:
    """Whatever the mode was when a message was received; to the very message, with no time in between."""
    headrace("dispatch", REDIS_URL=redis_url, **QUICK).wait_ready()
    world.admit(3, "enabled")
    world.wait(queued=3, inbox=0)
    world.set("suspended")
    world.admit(3, "enabled")
    world.wait(queued=3, suspended=3, inbox=0)
    world.set("enabled")
    world.admit(3, "suspended")
    world.wait(queued=6, suspended=3, inbox=0)


@pytest.mark.parametrize("end", ["disabled", "deleted"])
def test_of_a_trigger_that_is_gone_the_mode_of_the_message_counts(
    world: Pausable, redis_url: str, headrace: Start, end: str
) -> None:
    """What was received while it was suspended waits all the same."""
    world.set("suspended")
    if end == "disabled":
        world.set("disabled")
    else:
        world.delete()
    world.admit(2, "suspended")
    world.admit(1, "enabled")
    headrace("dispatch", REDIS_URL=redis_url, **QUICK).wait_ready()

    world.wait(suspended=2, queued=1, inbox=0)


def test_runs_wait_through_the_death_of_dispatch(world: Pausable, redis_url: str, headrace: Start) -> None:
    """Killed amid its work, again and again: each message waits once."""
    world.set("suspended")
    for _ in range(3):
        dispatcher = headrace("dispatch", REDIS_URL=redis_url, **QUICK).wait_ready()
        before = counters(world.store).get("suspended", 0)
        world.admit(3000, "suspended", qos=2)
        eventually(lambda seen=before: counters(world.store).get("suspended", 0) > seen)  # type: ignore[misc]
        dispatcher.kill9()
    headrace("dispatch", REDIS_URL=redis_url, **QUICK).wait_ready()

    world.wait(suspended=9000, inbox=0, runs=9000)
    assert len(world.waiting()) == len(set(world.waiting())) == 9000
    assert world.queue() == []
    assert suspended.resume(world.store, TRIGGER, None, None).done == 9000
    assert len(world.queue()) == len(set(world.queue())) == 9000
    world.wait(suspended=0, queued=9000)


def test_what_is_resumed_is_queued_once_in_the_order_of_the_messages(paused: Pausable) -> None:
    """Some, then all; asking again does nothing."""
    ids = paused.waiting()
    some = suspended.resume(paused.store, TRIGGER, [ids[3], "q1-no-1-1"], None)
    assert (some.done, some.not_waiting) == (1, ["q1-no-1-1"])
    paused.wait(suspended=4, queued=1)

    assert suspended.resume(paused.store, TRIGGER, None, None).done == 4
    assert suspended.resume(paused.store, TRIGGER, None, None).done == 0
    assert suspended.resume(paused.store, TRIGGER, ids, None).not_waiting == ids
    assert paused.queue() == [ids[3], ids[0], ids[1], ids[2], ids[4]]
    assert paused.waiting() == []
    paused.wait(suspended=0, queued=5)
    assert {run_fields(paused.store, each)["state"] for each in ids} == {"queued"}


def test_what_is_discarded_never_runs(paused: Pausable) -> None:
    """It is cancelled, by whom and why; what was resumed before is left alone."""
    ids = paused.waiting()
    suspended.resume(paused.store, TRIGGER, ids[:1], None)
    assert suspended.discard(paused.store, TRIGGER, ids[:2], "me", "why").not_waiting == ids[:1]
    assert suspended.discard(paused.store, TRIGGER, None, "me", "why").done == 3
    assert suspended.discard(paused.store, TRIGGER, None, "me", "why").done == 0

    record = run_fields(paused.store, ids[1])
    assert (record["state"], record["status"], record["cancelled_by"]) == ("cancelled", "canceled", "me")
    assert paused.queue() == ids[:1]
    paused.wait(suspended=0, queued=1, cancelled=4)
    assert check_registries(paused.store).level == "ok"


def test_resumed_runs_take_the_version_of_then_or_of_now(paused: Pausable) -> None:
    """As asked for; where nothing is deployed at that path now, they stay."""
    ids = paused.waiting()
    refused = suspended.resume(paused.store, TRIGGER, None, 60)
    assert (refused.done, list(refused.refused)) == (0, ids)
    version, blob = encode_definition(Script(RUNNABLE.path, "python3", "x.py", {"x.py": ""}, timeout_s=7))
    paused.store.run(deploy(paused.number, ON_RECORD, {version: blob}, {f"script:{RUNNABLE.path}": version}, []))

    assert suspended.resume(paused.store, TRIGGER, ids[:1], None).done == 1
    assert suspended.resume(paused.store, TRIGGER, None, 60).done == 4
    then, now = (paused.store.command("HMGET", keys.job(each), "data", "timeout") for each in ids[:2])
    assert (decode_job(then[0]).runnable_version, then[1]) == (RUNNABLE.version, b"60")
    assert (decode_job(now[0]).runnable_version, now[1]) == (version, b"7")
    assert decode_job(now[0]).idempotency_key == ids[1].removeprefix("q1-")


def test_rqs_own_tools_may_cancel_and_queue_what_waits(paused: Pausable) -> None:
    """The next sweep and the next claim take over what they did, in the books too."""
    ids = paused.waiting()
    connection = redis.Redis.from_url(paused.url)
    Job.fetch(ids[0], connection=connection, serializer=MsgpackSerializer).cancel()
    paused.store.command("HSET", keys.job(ids[1]), "status", "queued")
    paused.store.command("LPUSH", keys.RQ_QUEUE, ids[1])
    paused.store.run(verbs.beat("w1", 60_000))
    assert [claim.run_id for claim in paused.store.run(verbs.claim("w1", "w1-1", 10, 1 << 20)).claims] == [ids[1]]
    paused.store.run(verbs.sweep("w1", NOW_ISO, NOW_MS, Limits(3, 100), 100, "{}", ""))

    paused.wait(suspended=3, queued=1, cancelled=1)
    assert suspended.resume(paused.store, TRIGGER, None, None).done == 3
    assert paused.queue() == ids[2:]
    assert paused.waiting() == []
