"""The Lua verbs of dispatch against a real server."""

from __future__ import annotations

import pytest

from shared import keys
from shared.scripts.dispatch import Placement, place, retire_consumers
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
    run_fields,
)


def placed(store: Store, *placements: Placement) -> tuple[int, int, int]:
    """Place; (settled, gone, runs)."""
    reply = store.run(place(placements, NOW_ISO, NOW_MS * 1000, 100))
    assert reply is not None
    return reply.settled, reply.gone, reply.runs


def test_an_entry_becomes_its_runs_and_leaves_the_inbox_in_one_step(store: Store) -> None:
    """Job hash, queue, history and counters; the stream and the group forget the entry."""
    HeldSession(store).admit(make_envelope())
    (entry,) = read_entries(store)
    runs = [make_run("q1-abcdefgh-1-1"), make_run("q1-abcdefgh-1-1-1")]

    assert placed(store, Placement(entry, TRIGGER, "run", runs)) == (1, 0, 2)
    assert store.command("LRANGE", keys.RQ_QUEUE, 0, -1) == [b"q1-abcdefgh-1-1", b"q1-abcdefgh-1-1-1"]
    assert store.command("SMEMBERS", keys.RQ_QUEUES) == {b"rq:queue:headrace"}
    assert store.command("ZRANGE", keys.RUNS, 0, -1) == store.command("ZRANGE", keys.runs(TRIGGER), 0, -1)
    assert store.command("XLEN", keys.INBOX) == 0
    assert store.command("XPENDING", keys.INBOX, keys.GROUP)["pending"] == 0
    record = run_fields(store, "q1-abcdefgh-1-1")
    assert (record["status"], record["state"], record["trigger"], record["origin"]) == (
        "queued",
        "queued",
        TRIGGER,
        "headrace",
    )
    assert counters(store) == {"received": 1, "admitted": 1, "placed": 1, "runs": 2, "queued": 2}


def test_an_entry_that_another_dispatcher_has_placed_makes_no_run(store: Store) -> None:
    """However many hold it: placing goes by the acknowledgement."""
    HeldSession(store).admit(make_envelope())
    (entry,) = read_entries(store)
    placement = Placement(entry, TRIGGER, "run", [make_run("q1-abcdefgh-1-1")])

    assert [placed(store, placement), placed(store, placement)] == [(1, 0, 1), (0, 1, 0)]
    assert counters(store)["runs"] == 1


def test_a_run_that_has_ended_and_been_forgotten_is_not_made_again(store: Store) -> None:
    """Placing does not ask whether the job is there."""
    HeldSession(store).admit(make_envelope())
    (entry,) = read_entries(store)
    placement = Placement(entry, TRIGGER, "run", [make_run("q1-abcdefgh-1-1")])
    placed(store, placement)
    store.command("DEL", "rq:job:q1-abcdefgh-1-1", keys.RQ_QUEUE)

    assert placed(store, placement) == (0, 1, 0)
    assert store.command("LLEN", keys.RQ_QUEUE) == 0


def test_a_publishers_own_id_runs_once(store: Store) -> None:
    """The second message with it is settled and counted as repeated."""
    HeldSession(store).admit(make_envelope(), make_envelope())
    first, second = read_entries(store)
    key = keys.published(TRIGGER, "ab12")
    one = Placement(first, TRIGGER, "run", [make_run("q1-abcdefgh-1-1")], published=key)
    two = Placement(second, TRIGGER, "run", [make_run("q1-abcdefgh-1-2")], published=key)

    assert placed(store, one, two) == (2, 0, 1)
    assert counters(store)["repeated"] == 1
    assert 0 < store.command("TTL", key) <= 24 * 3600


@pytest.mark.parametrize("verdict", ["unrouted", "poisoned"])
def test_what_has_no_runnable_is_counted_and_buried(store: Store, verdict: str) -> None:
    """Never silently gone."""
    HeldSession(store).admit(make_envelope())
    (entry,) = read_entries(store)
    placed(store, Placement(entry, TRIGGER, verdict, letter=b"letter"))  # type: ignore[arg-type]

    assert counters(store) == {"received": 1, "admitted": 1, verdict: 1}
    assert store.command("HVALS", keys.DEAD_LETTERS) == [b"letter"]


def test_a_consumer_with_pending_entries_is_never_removed(store: Store) -> None:
    """Deleting it would drop what it holds."""
    HeldSession(store).admit(make_envelope())
    read_entries(store, consumer="holds")
    store.command("XGROUP", "CREATECONSUMER", keys.INBOX, keys.GROUP, "idle")

    assert store.run(retire_consumers(0)) == 1
    consumers = store.command("XINFO", "CONSUMERS", keys.INBOX, keys.GROUP)
    assert [consumer[1] for consumer in consumers] == [b"holds"]
