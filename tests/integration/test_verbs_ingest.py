"""The Lua verbs of ingest against a real server: leases, sessions, admission."""

from __future__ import annotations

import pytest

from shared.envelope import decode_envelope
from shared.errors import LeaseLost, StoreUnavailable
from shared.scripts import ingest
from shared.scripts.ingest import Admission
from shared.store import Store
from tests.support.factories import SESSION, HeldSession, counters, make_envelope


def test_a_lease_is_held_by_one_and_every_taking_raises_the_token(store: Store) -> None:
    """The second holder is refused until the first gives the lease back."""
    first = store.run(ingest.lease_acquire(SESSION, "one", 60_000))
    refused = store.run(ingest.lease_acquire(SESSION, "two", 60_000))
    store.run(ingest.lease_release(SESSION, first.token))
    second = store.run(ingest.lease_acquire(SESSION, "two", 60_000))

    assert (first.token, refused.token, refused.holder, second.token) == (1, 0, "one", 2)


def test_taking_a_lease_again_after_a_lost_reply_gives_the_same_token(store: Store) -> None:
    """The holder is told by its name."""
    first = store.run(ingest.lease_acquire(SESSION, "one", 60_000))

    assert store.run(ingest.lease_acquire(SESSION, "one", 60_000)) == first


def test_a_lease_that_expired_can_be_renewed_until_somebody_takes_it(store: Store) -> None:
    """Expiry alone changes nothing: the token decides."""
    token = store.run(ingest.lease_acquire(SESSION, "one", 60_000)).token
    store.command("DEL", f"headrace:lease:{SESSION}")
    renewed = store.run(ingest.lease_renew(SESSION, token, "one", 60_000))
    store.command("DEL", f"headrace:lease:{SESSION}")
    store.run(ingest.lease_acquire(SESSION, "two", 60_000))

    assert renewed
    assert not store.run(ingest.lease_renew(SESSION, token, "one", 60_000))


def test_admitted_messages_are_numbered_and_counted_in_one_step(store: Store) -> None:
    """Key, envelope, packet id and counters all come from the same call."""
    held = HeldSession(store)
    length = held.admit(
        make_envelope(payload=b"a"), make_envelope(payload=b"b"), received=5, duplicate=2, invalid=1,
        packet_ids=[(7, b"digest+conn.")],
    )  # fmt: skip

    rows = store.command("XRANGE", "headrace:inbox", "-", "+")
    assert [row[1][b"k"] for row in rows] == [b"abcdefgh-1-1", b"abcdefgh-1-2"]
    assert [decode_envelope(row[1][b"e"]).payload for row in rows] == [b"a", b"b"]
    assert store.command("HGETALL", f"headrace:session:{SESSION}:inflight") == {b"7": b"digest+conn."}
    assert counters(store) == {"received": 5, "admitted": 2, "inbox": 2, "duplicate": 2, "invalid": 1}
    assert length == 2


def test_repeating_an_admission_changes_nothing(store: Store) -> None:
    """A lost reply is answered by sending the same call again."""
    held = HeldSession(store)
    held.admit(make_envelope())
    again = held.repeat(Admission(received=1, envelopes=[b"something else"]))

    assert again == 1
    assert counters(store)["admitted"] == 1


def test_an_admission_out_of_order_is_refused(store: Store) -> None:
    """A call whose predecessor is missing must not be taken for applied later."""
    held = HeldSession(store)
    held.call += 1

    with pytest.raises(StoreUnavailable):
        held.admit(make_envelope())
    assert counters(store) == {}


def test_a_lost_lease_cannot_write(store: Store) -> None:
    """Every verb under the old token is refused once another process has taken the lease."""
    held = HeldSession(store)
    store.command("DEL", f"headrace:lease:{SESSION}")
    store.run(ingest.lease_acquire(SESSION, "two", 60_000))

    with pytest.raises(LeaseLost):
        held.admit(make_envelope())
    with pytest.raises(LeaseLost):
        held.epoch()
    with pytest.raises(LeaseLost):
        store.run(ingest.session_open(SESSION, held.token, "f/x", "c"))
    with pytest.raises(LeaseLost):
        store.run(ingest.session_report(SESSION, held.token, {"state": "connected"}))
    with pytest.raises(LeaseLost):
        store.run(ingest.session_subscribed(SESSION, held.token, held.call + 1, "[]"))
    assert store.command("XLEN", "headrace:inbox") == 0


def test_an_epoch_forgets_packet_ids_and_subscriptions(store: Store) -> None:
    """What the broker no longer knows is not remembered either; numbers go on."""
    held = HeldSession(store)
    held.admit(make_envelope(), packet_ids=[(7, b"digest+conn.")])
    held.call += 1
    store.run(ingest.session_subscribed(SESSION, held.token, held.call, '["a"]'))
    epoch = held.epoch()
    held.admit(make_envelope())
    opened = store.run(ingest.session_open(SESSION, held.token, "f/x", "c"))

    assert epoch == 2
    assert opened.inflight == {}
    assert opened.subscriptions == ""
    keys = [row[1][b"k"] for row in store.command("XRANGE", "headrace:inbox", "-", "+")]
    assert keys == [b"abcdefgh-1-1", b"abcdefgh-2-2"]


def test_opening_a_session_reads_back_what_must_not_be_forgotten(store: Store) -> None:
    """Connection numbers grow; epoch, grants and packet ids are there."""
    held = HeldSession(store)
    held.admit(make_envelope(), packet_ids=[(7, b"digest+conn."), (9, b"x" * 12)])
    held.admit(packet_ids=[(9, b"")], received=0)
    held.call += 1
    store.run(ingest.session_subscribed(SESSION, held.token, held.call, '["a"]'))
    opened = store.run(ingest.session_open(SESSION, held.token, "f/x", "c"))

    assert opened.connection == held.opened.connection + 1
    assert (opened.epoch, opened.protocol, opened.subscriptions) == (1, 5, '["a"]')
    assert opened.inflight == {7: b"digest+conn."}


def test_dead_letters_are_bounded_and_what_goes_is_counted(store: Store) -> None:
    """The oldest go first."""
    held = HeldSession(store)
    held.call += 1
    batch = Admission(received=5, oversized=5, dead_letters=[b"1", b"2", b"3", b"4", b"5"])
    store.run(ingest.admit(SESSION, held.token, held.call, "f/x", 1000, 3, batch))

    kept = store.command("HVALS", "headrace:dead:letters")
    assert sorted(kept) == [b"3", b"4", b"5"]
    assert store.command("ZCARD", "headrace:dead") == 3
    assert counters(store, "f/x") == {"received": 5, "oversized": 5, "dead_dropped": 2}


def test_verbs_survive_that_redis_forgets_its_scripts(store: Store) -> None:
    """A restart or SCRIPT FLUSH loads them again, also in the middle of a pipeline."""
    token = store.run(ingest.lease_acquire(SESSION, "one", 60_000)).token
    store.command("SCRIPT", "FLUSH")

    renew = ingest.lease_renew(SESSION, token, "one", 60_000)
    assert store.run_many([renew, renew]) == [True, True]
