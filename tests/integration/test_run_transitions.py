"""The table of a run's states against a real server: each legal cell moves what it says, each absent one nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import redis
from rq.job import Job

from shared import keys
from shared.create_runs import HANDLER_ORIGIN
from shared.runs import RQ_REGISTRY, RQ_STATUS, RQ_STOPPED, TRANSITIONS, decode_job, encode_job
from shared.scripts import flows, operate, suspended
from shared.scripts import worker as verbs
from shared.scripts.dispatch import Placement, place
from shared.scripts.flows import News
from shared.scripts.operate import MadeRun
from shared.scripts.suspended import Release
from shared.scripts.worker import Claim, Ending, Limits, Outcome
from shared.store import Store
from tests.support.factories import (
    NOW_ISO,
    NOW_MS,
    TRIGGER,
    HeldSession,
    counters,
    make_envelope,
    make_run,
    read_entries,
)
from worker.rq_worker import MsgpackSerializer

LIMITS = Limits(max_crashes=2, dead_max=100)
LEASE_MS = 60_000
HANDLER = "q2-s-1-1-eh"
UNTOLD = {"cancelled_by", "cancel_reason", "expires"}
STATES = tuple(state for state in TRANSITIONS if state not in {"new", "filtered"})
OUTSIDE = ("retry", "requeue")
"""What is run again by hand stays counted as what it was."""


class World:
    """One run, the worker that has had it, and everything that the verbs write about it."""

    def __init__(self, url: str, qos: int) -> None:
        self.store = Store.connect(url)
        self.url = url
        self.id = f"q{qos}-s-1-1"
        held = HeldSession(self.store, session="placedrun", holder="test")
        held.admit(make_envelope(qos=qos))
        (self.entry,) = read_entries(self.store)
        self.claim: Claim | None = None

    def place(self, verdict: Any = "run") -> None:
        """Settle the inbox entry."""
        runs = [make_run(self.id)] if verdict in {"run", "suspended"} else []
        self._settle(Placement(self.entry, TRIGGER, verdict, runs))

    def expire(self) -> None:
        """Settle the inbox entry when it is of no use any more."""
        self._settle(Placement(self.entry, TRIGGER, "run", [make_run(self.id)], lifetime_ms=0))

    def _settle(self, placement: Placement) -> None:
        self.store.run(place([placement], NOW_ISO, NOW_MS * 1000, 100))

    def take(self) -> None:
        """Claim it, if it is to be had."""
        self.store.run(verbs.beat("w1", LEASE_MS))
        claims = self.store.run(verbs.claim("w1", f"w1-{id(self)}", 10, 1 << 20)).claims
        self.claim = claims[0] if claims else self.claim

    def take_too_late(self) -> None:
        """Claim it when its message has expired."""
        if self.store.command("EXISTS", keys.job(self.id)):
            self.store.command("HSET", keys.job(self.id), "expires", 1)
        self.take()

    def start(self) -> None:
        """Record the start of what was claimed."""
        if self.claim is None:
            self.take()
        if self.claim is not None:
            self.store.run(verbs.start("w1", NOW_ISO, [self.claim]))

    def end(self, outcome: Outcome) -> None:
        """Record an ending of what was claimed."""
        claim = self.claim or Claim(self.id, "w1-0-1", b"", None, 0)
        ending = Ending(self.id, claim.execution, outcome, error='{"name": "E", "message": ""}', delay_ms=60_000)
        self.store.run(verbs.finish("w1", NOW_ISO, NOW_MS, LIMITS, 0, [ending]))

    def wait(self) -> None:
        """What was claimed is a flow that has to wait."""
        claim = self.claim or Claim(self.id, "w1-0-1", b"", None, 0)
        self.store.run(flows.park("w1", self.id, claim.execution, 60_000, News({})))

    def sweep(self) -> None:
        """The worker dies, and another one sweeps."""
        if self.claim is None:
            self.take()
        self.store.command("DEL", keys.worker("w1"))
        self.store.run(verbs.beat("sweeper", LEASE_MS))
        self.store.run(verbs.sweep("sweeper", NOW_ISO, NOW_MS, LIMITS, 100, "{}", ""))

    def crash_once(self) -> None:
        """One crash before, so that the next is the last."""
        self.store.command("HSET", keys.job(self.id), "crashes", LIMITS.max_crashes - 1)

    def promote(self) -> None:
        """Its time comes, if it has one."""
        self.store.command("ZADD", keys.RQ_SCHEDULED, "XX", 1, self.id)
        self.store.run(verbs.promote(NOW_ISO, 100))

    def create(self) -> None:
        """Ask for it as a run that no message made."""
        run = MadeRun(self.id, make_run(self.id).data, "", 60, "api")
        self.store.run(operate.create_runs([run], NOW_ISO, NOW_MS * 1000))

    def handle(self) -> None:
        """Ask for it as the run of an error handler."""
        self.store.command("HSET", keys.job("q1-s-1-9"), "status", "failed", "state", "failed")
        self.store.command("RPUSH", keys.HANDLERS, "q1-s-1-9")
        run = MadeRun(self.id, make_run(self.id).data, "", 60, HANDLER_ORIGIN)
        self.store.run(verbs.create_handler("q1-s-1-9", run, NOW_ISO, NOW_MS * 1000))
        self.store.command("DEL", keys.job("q1-s-1-9"))

    def recover(self) -> None:
        """Its error handler says that all is well again."""
        run = MadeRun(HANDLER, make_run(HANDLER).data, "", 60, HANDLER_ORIGIN)
        self.store.run(operate.create_runs([run], NOW_ISO, NOW_MS * 1000))
        self.store.command("HSET", keys.job(HANDLER), "parent", self.id)
        self.store.commands([("LREM", keys.RQ_QUEUE, 0, HANDLER), ("LPUSH", keys.RQ_QUEUE, HANDLER)])
        self.store.run(verbs.beat("w2", LEASE_MS))
        (claim,) = self.store.run(verbs.claim("w2", "w2-1", 1, 1 << 20)).claims
        self.store.run(verbs.start("w2", NOW_ISO, [claim]))
        ending = Ending(HANDLER, claim.execution, "recovered")
        assert self.store.run(verbs.finish("w2", NOW_ISO, NOW_MS, LIMITS, 0, [ending])) == ["succeeded"]
        self.store.command("ZREM", keys.RQ_FINISHED, HANDLER)

    def requeue(self) -> None:
        """By RQ's own means, then claimed."""
        try:
            job = Job.fetch(self.id, connection=redis.Redis.from_url(self.url), serializer=MsgpackSerializer)
            job.requeue()
        except Exception:  # noqa: BLE001 - RQ refuses: then nothing may have changed
            return
        self.take()

    def cancel(self) -> None:
        """By our own verb."""
        self.store.run(operate.cancel(self.id, NOW_ISO, NOW_MS, "test", "why not"))

    def suspend(self) -> None:
        """Settle the inbox entry while the trigger is suspended."""
        self.place("suspended")

    def resume(self) -> None:
        """A person releases it."""
        self.store.run(suspended.resume(TRIGGER, [Release(self.id)], NOW_ISO))

    def discard(self) -> None:
        """A person discards it."""
        self.store.run(suspended.discard(TRIGGER, [self.id], NOW_ISO, NOW_MS, "test", "why not"))

    def retry(self) -> None:
        """A person re-drives it."""
        self.store.run(operate.retry(self.id, NOW_ISO))

    def fields(self) -> dict[str, str]:
        """Its record, but for what RQ's tools may have compressed."""
        fields = self.store.command("HGETALL", keys.job(self.id))
        return {name.decode(): value.decode("utf-8", "replace") for name, value in fields.items() if name != b"data"}

    def registries(self) -> dict[str, bool]:
        """In which of RQ's registries it is."""
        found = {}
        for registry in dict.fromkeys(RQ_REGISTRY.values()):
            members = self.store.command("ZRANGE", registry, 0, -1)
            found[registry] = any(member.decode().partition(":")[0] == self.id for member in members)
        return found

    def places(self) -> int:
        """How often it is in the queue's list, or claimed."""
        queued = self.store.command("LRANGE", keys.RQ_QUEUE, 0, -1).count(self.id.encode())
        return int(queued) + int(self.store.command("HEXISTS", keys.claims("w1"), self.id))

    def cells(self) -> dict[str, int]:
        """The states' cells of the books."""
        states = {after for causes in TRANSITIONS.values() for after in causes.values()}
        return {cell: count for cell, count in counters(self.store).items() if cell in states}

    def everything(self) -> dict[str, Any]:
        """All of it, but what says only that somebody has asked."""
        fields = self.fields()
        kept = {name: value for name, value in fields.items() if name not in UNTOLD}
        dead = self.store.command("ZSCORE", keys.DEAD, self.id)
        results = self.store.command("XLEN", keys.results(self.id))
        return {
            "fields": kept, "registries": self.registries(), "places": self.places(), "cells": self.cells(),
            "dead": dead, "attempts": results, "handlers": self.store.command("LRANGE", keys.HANDLERS, 0, -1),
        }  # fmt: skip


def run(world: World) -> None:
    """From new."""
    world.place()
    world.start()


def ended(outcome: Outcome) -> Callable[[World], None]:
    """From new to this end."""

    def make(world: World) -> None:
        run(world)
        world.end(outcome)

    return make


def too_late(world: World) -> None:
    """From new, in the queue."""
    world.place()
    world.take_too_late()


def written_off(world: World) -> None:
    """From new, by the death of its worker."""
    run(world)
    world.sweep()
    world.store.run(verbs.beat("w1", LEASE_MS))


MAKE: dict[str, Callable[[World], None]] = {
    "queued": World.place,
    "scheduled": ended("retry"),
    "suspended": World.suspend,
    "running": run,
    "lost": written_off,
    "interrupted": written_off,
    "failed": ended("failed"),
    "succeeded": ended("succeeded"),
    "cancelled": ended("stopped"),
    "expired": too_late,
}

ACTIONS: dict[str, tuple[Callable[[World], None], tuple[str, ...]]] = {
    "place": (World.place, ("place",)),
    "suspend": (World.suspend, ("suspend",)),
    "resume": (World.resume, ("resume",)),
    "discard": (World.discard, ("discard",)),
    "filter": (lambda world: world.place("filtered"), ("filter",)),
    "expire": (World.expire, ("expire",)),
    "claim too late": (World.take_too_late, ("claim too late",)),
    "create": (World.create, ("create",)),
    "handle": (World.handle, ("handle",)),
    "claim": (World.take, ("claim",)),
    "start": (World.start, ("start",)),
    "promote": (World.promote, ("promote",)),
    "cancel": (World.cancel, ("cancel",)),
    "finish": (lambda world: world.end("succeeded"), ("finish", "finish late")),
    "fail": (lambda world: world.end("failed"), ("fail", "fail late")),
    "try again": (
        lambda world: world.end("retry"),
        ("fail, to be tried again", "fail late, to be tried again"),
    ),
    "stop": (lambda world: world.end("stopped"), ("stop", "stop late")),
    "wait": (World.wait, ("wait",)),
    "end interrupted": (lambda world: world.end("interrupted"), ("end interrupted",)),
    "recover": (World.recover, ("recover",)),
    "retry": (World.retry, ("retry",)),
    "requeue": (World.requeue, ("requeue",)),
}
"""What is done, and the words that the table has for it."""

QOS = {"lost": 0, "interrupted": 2}


def check(world: World, state: str, counted_as: str) -> None:
    """The run says so, RQ says so, and the books."""
    fields = world.fields()
    stopped = state == "cancelled" and fields["status"] == RQ_STOPPED
    assert (fields["state"], fields["status"]) == (state, RQ_STOPPED if stopped else RQ_STATUS[state])
    assert [name for name, member in world.registries().items() if member] == [
        registry for registry in [RQ_REGISTRY.get(state)] if registry
    ]
    assert (world.places() >= 1) == (state in {"queued", "running"} or (state == "cancelled" and world.places() == 1))
    assert world.cells() == {counted_as: 1}
    dead = world.store.command("ZSCORE", keys.DEAD, world.id) is not None
    assert dead == (state in {"failed", "interrupted"})


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("state", STATES)
def test_a_run_changes_as_the_table_says_and_in_no_other_way(redis_url: str, state: str, action: str) -> None:
    """State, RQ's status, RQ's registries, dead letters and counters, all in one step; or nothing at all."""
    world = World(redis_url, QOS.get(state, 1))
    MAKE[state](world)
    check(world, state, state)
    before = world.everything()
    act, causes = ACTIONS[action]
    act(world)
    after = [TRANSITIONS[state][cause] for cause in causes if cause in TRANSITIONS[state]]

    if after:
        check(world, after[0], state if action in OUTSIDE else after[0])
    else:
        assert world.everything() == before


@pytest.mark.parametrize("how", ["crash", "sweep"])
@pytest.mark.parametrize("qos, last", [(0, False), (1, False), (1, True), (2, False)])
@pytest.mark.parametrize("state", STATES)
def test_a_crash_moves_only_what_runs(redis_url: str, state: str, qos: int, last: bool, how: str) -> None:  # noqa: FBT001
    """Whether the worker tells it or another one finds the worker dead."""
    if state in QOS and qos != QOS[state]:
        return
    world = World(redis_url, qos)
    MAKE[state](world)
    if last:
        world.crash_once()
    before = world.everything()
    if how == "crash":
        world.end("crashed")
    else:
        world.sweep()

    if state == "running":
        check(world, TRANSITIONS[state][f"crash QoS {qos}" + (", last" if last else "")], world.fields()["state"])
    elif state == "queued" and how == "sweep" and qos == 0:
        assert world.fields()["state"] == "lost"
        assert world.cells() == {"lost": 1}
    else:
        assert world.everything() == before


@pytest.mark.parametrize("action", ["place", "suspend", "filter", "expire", "create", "handle"])
def test_a_run_begins_as_the_table_says(redis_url: str, action: str) -> None:
    """Placed and filtered ones are in the books, others are not."""
    world = World(redis_url, 2)
    act, (cause,) = ACTIONS[action]
    act(world)

    fields = world.fields()
    state = TRANSITIONS["new"][cause]
    has_record = action not in {"filter", "expire"}
    assert fields.get("state") == (state if has_record else None)
    assert fields.get("status") == (RQ_STATUS[state] if has_record else None)
    assert world.cells() == ({} if action in {"create", "handle"} else {state: 1})
    assert world.places() == (1 if state == "queued" else 0)


@pytest.mark.parametrize("how", ["crash", "sweep"])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_flow_that_crashes_goes_on_unless_qos_0(redis_url: str, qos: int, how: str) -> None:
    """Until it has crashed more often than it may without having come any further."""
    world = World(redis_url, qos)
    world.place()
    spec = msgspec.structs.replace(decode_job(make_run(world.id).data), is_flow=True)
    world.store.command("HSET", keys.job(world.id), "data", encode_job(spec))
    world.start()
    for crashes in range(LIMITS.max_crashes + 1):
        world.store.command("HSET", keys.job(world.id), "crashes", crashes)
        if how == "crash":
            world.end("crashed")
        else:
            world.sweep()
        again = qos > 0 and crashes < LIMITS.max_crashes
        check(world, TRANSITIONS["running"]["crash of a flow"] if again else ENDS[qos], world.fields()["state"])
        if not again:
            break
        world.store.run(verbs.beat("w1", LEASE_MS))
        world.claim = None
        world.start()


ENDS = {0: "lost", 1: "failed", 2: "interrupted"}
