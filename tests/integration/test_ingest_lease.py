"""Several ingest processes and one session: one holds it, another takes it over, and the old holder can do no harm."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from ingest.leases import Leases
from shared.definitions import Topic
from shared.store import AsyncStore, Store
from tests.support.eventually import eventually
from tests.support.factories import make_trigger
from tests.support.ingest import (
    BROKER,
    FAST,
    deploy_all,
    deploy_trigger,
    inbox,
    inbox_length,
    is_subscribed,
    send,
    session_state,
)
from tests.support.mosquitto import Mosquitto
from tests.support.processes import HeadraceProcess

Start = Callable[..., HeadraceProcess]


def holder(store: Store, session: str = "abcdefgh") -> int:
    """Process id of the ingest that holds the session; 0 if none does."""
    lease = store.command("GET", f"headrace:lease:{session}")
    return int(lease.split(b":")[1]) if lease else 0


def held_by(store: Store, *processes: HeadraceProcess) -> tuple[HeadraceProcess, HeadraceProcess]:
    """The holder of two processes, and the other one."""
    pid = eventually(lambda: is_subscribed(store) and holder(store))
    first, second = sorted(processes, key=lambda process: process.pid != pid)
    assert first.pid == pid
    return first, second


def test_a_session_is_taken_over_when_its_holder_dies(
    store: Store, redis_url: str, headrace: Start, mosquitto: Mosquitto
) -> None:
    """With the default lease; what came in between was kept by the broker."""
    deploy_trigger(store, mosquitto.port, Topic("a", 2))
    one, two = (headrace("ingest", REDIS_URL=redis_url) for _ in range(2))
    first, second = held_by(store, one, two)
    send(mosquitto.port, ("a", "before", 2))
    eventually(lambda: inbox_length(store) == 1)
    first.kill9()
    send(mosquitto.port, ("a", "between", 2))
    eventually(lambda: holder(store) == second.pid)
    eventually(lambda: inbox_length(store) == 2)

    assert [each.payload for each in inbox(store)] == [b"before", b"between"]


def test_a_holder_that_was_stopped_too_long_steps_down_without_a_word(
    store: Store, redis_url: str, headrace: Start, mosquitto: Mosquitto
) -> None:
    """It wakes up, writes nothing, and does not connect: the new holder's session goes on."""
    deploy_trigger(store, mosquitto.port, Topic("a", 2))
    one, two = (headrace("ingest", REDIS_URL=redis_url, **FAST) for _ in range(2))
    zombie, successor = held_by(store, one, two)
    zombie.sigstop()
    eventually(lambda: holder(store) == successor.pid)
    eventually(lambda: session_state(store) == "connected" and mosquitto.output.count("as headrace-test") == 3)
    zombie.sigcont()
    eventually(lambda: "lease.lost" in zombie.output)
    send(mosquitto.port, *[("a", f"{i}", 2) for i in range(100)])

    eventually(lambda: inbox_length(store) == 100)
    assert holder(store) == successor.pid
    assert mosquitto.output.count("as headrace-test") == 3
    assert "session.taken_over" not in zombie.output + successor.output


def test_a_holder_that_ends_in_good_order_is_followed_at_once(
    store: Store, redis_url: str, headrace: Start, mosquitto: Mosquitto
) -> None:
    """It gives the lease back; nobody waits for it to expire."""
    deploy_trigger(store, mosquitto.port, Topic("a", 1))
    slow = {"HEADRACE_INGEST__LEASE_TTL_MS": "600000"}
    one, two = (headrace("ingest", REDIS_URL=redis_url, **slow) for _ in range(2))
    first, second = held_by(store, one, two)

    assert first.sigterm() == 0
    eventually(lambda: holder(store) == second.pid)


def test_many_sessions_are_held_once_each(store: Store, redis_url: str, headrace: Start, mosquitto: Mosquitto) -> None:
    """Whatever process takes which."""
    deploy_trigger(store, mosquitto.port, Topic("t0", 1), path="f/t0", session="session0", client_id="c0")
    processes = [headrace("ingest", REDIS_URL=redis_url, **FAST).wait_ready() for _ in range(2)]
    names = [f"session{i}" for i in range(1, 9)]
    for name in names:
        deploy_all(store, make_trigger(Topic(name, 1), path=f"f/{name}", session=name, client_id=name, broker=BROKER))
    eventually(lambda: all(is_subscribed(store, name) for name in names))
    taken = "".join(process.output for process in processes)

    for name in names:
        assert taken.count(f"trigger=f/{name} session={name} token=1 ") == 1
        assert mosquitto.output.count(f"as {name} ") == 2


def test_all_sessions_of_a_dead_holder_are_taken_over(
    store: Store, redis_url: str, headrace: Start, mosquitto: Mosquitto
) -> None:
    """200 of them, with the default lease; what was published in between arrives, once each at QoS 2."""
    names = [f"many{i:04}" for i in range(200)]
    made = [
        make_trigger(Topic(name, 2), path=f"f/{name}", session=name, client_id=name, broker=BROKER) for name in names
    ]
    deploy_trigger(store, mosquitto.port, Topic(names[0], 2), path=made[0].path, session=names[0], client_id=names[0])
    deploy_all(store, *made)
    first = headrace("ingest", REDIS_URL=redis_url)
    eventually(lambda: all(is_subscribed(store, name) for name in names), 60, interval_s=0.2)
    second = headrace("ingest", REDIS_URL=redis_url).wait_ready()
    assert {holder(store, name) for name in names} == {first.pid}
    first.kill9()
    send(mosquitto.port, *[(name, name, 2) for name in names])
    eventually(lambda: {holder(store, name) for name in names} == {second.pid}, 60, interval_s=0.2)
    eventually(lambda: inbox_length(store) == len(names), 60)

    assert sorted(each.topic for each in inbox(store)) == names


def test_processes_that_take_turns_share_the_sessions(redis_url: str) -> None:
    """Nobody takes more than half of what is free at once."""
    names = [f"session{i}" for i in range(16)]

    async def share() -> tuple[int, int]:
        store = AsyncStore.connect(redis_url)
        one, two = (Leases(store, name, 60_000) for name in ("one", "two"))
        while len(one.held) + len(two.held) < len(names):
            await one.take_some(names)
            await two.take_some(names)
        assert not one.held.keys() & two.held.keys()
        await store.close()
        return len(one.held), len(two.held)

    shares = asyncio.run(share())
    assert sum(shares) == 16
    assert min(shares) >= 4


def test_taking_a_lease_again_begins_a_new_term(redis_url: str) -> None:
    """Even before Redis has heard that the old one is over: calls are counted from 0 again."""

    async def take_twice() -> list[int]:
        store = AsyncStore.connect(redis_url)
        leases = Leases(store, "one", 60_000)
        first = (await leases.take_some(["s"]))["s"]
        leases.end("s", first.token)
        second = (await leases.take_some(["s"]))["s"]
        await store.close()
        return [first.token, second.token]

    assert asyncio.run(take_twice()) == [1, 2]


def test_control_c_is_quiet(store: Store, redis_url: str, headrace: Start, mosquitto: Mosquitto) -> None:
    """SIGINT ends it like SIGTERM: in good order and without a traceback."""
    deploy_trigger(store, mosquitto.port, Topic("a", 1))
    ingest = headrace("ingest", REDIS_URL=redis_url)
    eventually(lambda: is_subscribed(store))
    ingest.send(signal.SIGINT)

    assert ingest.wait() == 0
    assert "Traceback" not in ingest.output
    assert "headrace ingest stopped" in ingest.output
