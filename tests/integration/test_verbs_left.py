"""The Lua verbs of sessions that are left behind, against a real server."""

from __future__ import annotations

import pytest

from shared import keys
from shared.errors import LeaseLost
from shared.left import Left, decode_left, encode_left
from shared.scripts import ingest
from shared.scripts.ingest import LeftBehind
from shared.scripts.operate import SessionChanges, deploy, left_change
from shared.store import Store
from tests.support.factories import ON_RECORD, SESSION, TRIGGER, HeldSession, make_envelope

RECORD = Left(TRIGGER, "tv", "bv", "headrace-test", 1, "deleted", 7)
BLOB = encode_left(RECORD)


def records(store: Store) -> dict[bytes, bytes]:
    """What is on record as left."""
    found: dict[bytes, bytes] = store.command("HGETALL", keys.LEFT)
    return found


def test_a_deployment_puts_on_record_what_has_ever_been_held(store: Store) -> None:
    """A session that no process has ever held is not at any broker."""
    HeldSession(store)
    store.run(deploy(0, ON_RECORD, {}, {}, [], sessions=SessionChanges(left={SESSION: BLOB, "never": BLOB})))

    assert records(store) == {SESSION.encode(): BLOB}


def test_a_deployment_takes_a_session_up_only_as_it_was(store: Store) -> None:
    """If somebody has asked for it meanwhile, or it has ended, nothing is deployed."""
    store.command("HSET", keys.LEFT, SESSION, BLOB)
    other = deploy(
        0, ON_RECORD, {"v": b"{}"}, {"trigger:f/a": "v"}, [], sessions=SessionChanges(taken={SESSION: b"{}"})
    )
    same = deploy(0, ON_RECORD, {"v": b"{}"}, {"trigger:f/a": "v"}, [], sessions=SessionChanges(taken={SESSION: BLOB}))

    assert store.run(other) == -1
    assert records(store) == {SESSION.encode(): BLOB}
    assert not store.command("EXISTS", keys.DEPLOYED, keys.DEFINITIONS)
    assert store.run(same) == 1
    assert records(store) == {}


def test_a_record_changes_only_from_what_was_read(store: Store) -> None:
    """A repeat after a lost reply is told that it is done."""
    store.command("HSET", keys.LEFT, SESSION, BLOB)

    assert store.run(left_change(SESSION, BLOB, b"new"))
    assert store.run(left_change(SESSION, BLOB, b"new"))
    assert not store.run(left_change(SESSION, BLOB, b"newer"))
    assert not store.run(left_change("other", BLOB, b"new"))


def test_a_session_that_ended_leaves_no_key_but_its_numbers(store: Store) -> None:
    """Its holder learns how many messages came since it was asked for, also when the first answer is lost."""
    held = HeldSession(store)
    held.admit(make_envelope(), packet_ids=[(1, b"digest+conn.")])
    store.command("HSET", keys.LEFT, SESSION, encode_left(RECORD))
    held.admit(make_envelope(), make_envelope())
    drained = [store.run(ingest.session_end(SESSION, held.token)) for _ in range(2)]

    assert drained == [3, 3]
    assert not store.command("EXISTS", keys.inflight(SESSION), keys.lease(SESSION), keys.LEFT)
    assert not store.command("SISMEMBER", keys.SESSIONS, SESSION)
    with pytest.raises(LeaseLost):
        held.admit(make_envelope())


def test_a_session_id_that_comes_back_goes_on_counting(store: Store) -> None:
    """Idempotency keys are made of epoch and admission number: none comes twice."""
    held = HeldSession(store)
    held.admit(make_envelope())
    store.command("HSET", keys.LEFT, SESSION, BLOB)
    store.run(ingest.session_end(SESSION, held.token))
    again = HeldSession(store, holder="another")
    again.admit(make_envelope())

    assert again.token > held.token
    found = [fields[b"k"] for _, fields in store.command("XRANGE", keys.INBOX, "-", "+")]
    assert found == [b"abcdefgh-1-1", b"abcdefgh-2-2"]


def test_a_session_that_a_trigger_has_is_not_ended(store: Store) -> None:
    """It was taken up again while it was being drained."""
    held = HeldSession(store)

    assert store.run(ingest.session_end(SESSION, held.token)) is None
    assert held.admit(make_envelope()) == 1


def test_only_the_holder_ends_a_session_or_a_person(store: Store) -> None:
    """Whoever holds it is fenced then."""
    held = HeldSession(store)
    store.command("HSET", keys.LEFT, SESSION, BLOB)
    with pytest.raises(LeaseLost):
        store.run(ingest.session_end(SESSION, held.token - 1))

    assert store.run(ingest.session_end(SESSION, None)) == 0
    with pytest.raises(LeaseLost):
        held.admit(make_envelope())


def test_an_epoch_at_another_broker_moves_what_was_known(store: Store) -> None:
    """In one step, with the packet ids in flight; a repeat moves nothing twice."""
    held = HeldSession(store)
    held.admit(make_envelope(qos=2), packet_ids=[(7, b"digest+conn.")])
    held.call += 1
    left = LeftBehind("abcdefgh_1", BLOB)
    call = ingest.session_epoch(SESSION, held.token, held.call, 5, "there", left)
    epochs = [store.run(call), store.run(call)]

    assert epochs == [2, 2]
    assert not store.command("EXISTS", keys.inflight(SESSION))
    assert store.command("HGETALL", keys.inflight("abcdefgh_1")) == {b"7": b"digest+conn."}
    assert store.command("HMGET", keys.session("abcdefgh_1"), "epoch", "protocol", "trigger") == [
        b"1", b"5", TRIGGER.encode(),
    ]  # fmt: skip
    assert {name: decode_left(blob) for name, blob in records(store).items()} == {b"abcdefgh_1": RECORD}
    assert store.command("SISMEMBER", keys.SESSIONS, "abcdefgh_1")
    assert store.command("HGET", keys.session(SESSION), "broker") == b"there"


def test_who_has_not_heard_of_the_end_of_a_session_does_not_begin_it_again(store: Store) -> None:
    """A later deployment may."""
    held = HeldSession(store)
    store.command("HSET", keys.DEPLOYMENT, "number", 5)
    store.command("HSET", keys.LEFT, SESSION, BLOB)
    store.run(ingest.session_end(SESSION, held.token))
    token = store.run(ingest.lease_acquire(SESSION, "another", 60_000)).token
    for stale in (4, 5):
        with pytest.raises(LeaseLost):
            store.run(ingest.session_open(SESSION, token, TRIGGER, "headrace-test", stale))

    assert store.run(ingest.session_open(SESSION, token, TRIGGER, "headrace-test", 6)).epoch == 1
