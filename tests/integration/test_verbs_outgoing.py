"""The verbs of outboxes and of tasks: done once, however often they are asked for."""

from __future__ import annotations

from shared import keys
from shared.scripts import worker as verbs
from shared.scripts.outgoing import Settled, outbox_settle, read_outbox, resend, role_hold, role_release, tell_dead
from shared.scripts.worker import Ending, Limits, Outcome
from shared.store import Store
from tests.support.eventually import eventually
from tests.support.factories import NOW_ISO, NOW_MS, TRIGGER, counters, place_runs

BROKER = "f/demo/broker"
RUN = "q2-placedrun-1-1"


def finish(store: Store, *run_ids: str, outcome: Outcome = "succeeded") -> list[str]:
    """Start runs and end them, each with two messages; twice, as after a lost reply."""
    place_runs(store, *run_ids)
    store.run(verbs.beat("w1", 60_000))
    claims = store.run(verbs.claim("w1", "w1-1", len(run_ids), 1 << 20)).claims
    store.run(verbs.start("w1", NOW_ISO, claims))
    messages = [(BROKER, TRIGGER, b"first"), (BROKER, TRIGGER, b"second")]
    endings = [Ending(each.run_id, each.execution, outcome, outgoing=messages) for each in claims]
    call = verbs.finish("w1", NOW_ISO, NOW_MS, Limits(3, 1000), 0, endings)
    return store.run(call) + store.run(call)


def outbox(store: Store) -> list[tuple[bytes, bytes]]:
    """Entries and messages that wait."""
    return [(entry, fields[b"m"]) for entry, fields in store.command("XRANGE", keys.outbox(BROKER), "-", "+")]


def test_messages_are_recorded_with_the_end_of_their_run_once(store: Store) -> None:
    """A repetition of the call records nothing."""
    assert finish(store, RUN) == ["succeeded", "succeeded"]
    assert [message for _, message in outbox(store)] == [b"first", b"second"]
    assert store.command("SMEMBERS", keys.OUTBOXES) == {BROKER.encode()}
    cells = counters(store)
    assert (cells["said"], cells["outbox"]) == (2, 2)


def test_an_execution_that_lost_its_run_sends_nothing(store: Store) -> None:
    """The run is somebody else's by now."""
    place_runs(store, RUN)
    store.run(verbs.beat("w1", 60_000))
    ending = Ending(RUN, "w1-9-9", "succeeded", outgoing=[(BROKER, TRIGGER, b"late")])
    assert store.run(verbs.finish("w1", NOW_ISO, NOW_MS, Limits(3, 1000), 0, [ending])) == [""]
    assert outbox(store) == []


def test_a_message_is_settled_once_and_may_be_sent_again(store: Store) -> None:
    """Published, or given up and put back; the books balance at each step."""
    finish(store, RUN)
    (first, _), (second, blob) = outbox(store)
    settled = [Settled(first, TRIGGER), Settled(second, TRIGGER, "m-out-1", b"letter")]
    assert store.run(outbox_settle(BROKER, NOW_MS, 1000, settled)) == 2
    assert store.run(outbox_settle(BROKER, NOW_MS, 1000, settled)) == 0
    cells = counters(store)
    assert (cells["said"], cells["sent"], cells["unsent"], cells.get("outbox", 0)) == (2, 1, 1, 0)
    assert store.command("HGET", keys.DEAD_LETTERS, "m-out-1") == b"letter"

    assert store.run(resend("m-out-1", BROKER, TRIGGER, blob))
    assert not store.run(resend("m-out-1", BROKER, TRIGGER, blob))
    cells = counters(store)
    assert (cells["sent"], cells.get("unsent", 0), cells["outbox"]) == (1, 0, 1)
    assert [message for _, message in outbox(store)] == [b"second"]


def test_an_outbox_is_read_in_order_and_in_portions(store: Store) -> None:
    """By count, by bytes, and behind what was read; nothing is taken out."""
    finish(store, RUN)
    (first, _), (second, _) = outbox(store)
    whole = [(first, b"first"), (second, b"second")]
    assert store.run(read_outbox(BROKER, b"0", 64, 1000)) == whole
    assert store.run(read_outbox(BROKER, b"0", 64, 5)) == whole[:1]
    assert store.run(read_outbox(BROKER, b"0", 1, 1000)) == whole[:1]
    assert store.run(read_outbox(BROKER, first, 64, 1000)) == whole[1:]
    assert store.run(read_outbox(BROKER, second, 64, 1000)) == []
    assert len(outbox(store)) == 2


def test_a_task_is_one_holders_until_it_gives_it_back_or_its_time_is_over(store: Store) -> None:
    """Giving back what is somebody else's changes nothing."""
    assert store.run(role_hold("a", "one", 60_000))
    assert store.run(role_hold("a", "one", 60_000))
    assert not store.run(role_hold("a", "two", 60_000))
    assert not store.run(role_release("a", "two"))
    assert store.run(role_release("a", "one"))
    assert store.run(role_hold("a", "two", 1))
    eventually(lambda: store.run(role_hold("a", "one", 60_000)))


def test_a_dead_letter_is_told_of_once(store: Store) -> None:
    """By a message, or not at all."""
    finish(store, RUN, "q2-placedrun-1-2", outcome="failed")
    assert store.command("LRANGE", keys.DEAD_UNTOLD, 0, -1) == [RUN.encode(), b"q2-placedrun-1-2"]
    before = len(outbox(store))
    assert store.run(tell_dead(RUN, BROKER, TRIGGER, b"obituary"))
    assert not store.run(tell_dead(RUN, BROKER, TRIGGER, b"obituary"))
    assert store.run(tell_dead("q2-placedrun-1-2"))
    assert [message for _, message in outbox(store)][before:] == [b"obituary"]
    assert store.command("LLEN", keys.DEAD_UNTOLD) == 0
