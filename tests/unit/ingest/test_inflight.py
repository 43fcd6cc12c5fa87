"""Remembered packet identifiers: which PUBLISH is one that was stored before."""

from __future__ import annotations

import pytest

from ingest.inflight import ENTRY_BYTES, RESENT_WITHIN, Inflight

ONE, TWO = b"11111111", b"22222222"


def later(memory: Inflight, connection: int) -> Inflight:
    """The memory as the next connection reads it back from the store."""
    return Inflight(connection, {packet_id: packed for packet_id, packed in memory.take_changes() if packed})


def after(connection: int, *digests: bytes, packet_id: int = 5) -> Inflight:
    """The memory of a later connection, after these were published under one identifier."""
    memory = Inflight(connection)
    for digest in digests:
        assert memory.publish(packet_id, digest)
    return later(memory, connection + 1)


def test_a_publish_that_comes_again_on_a_later_connection_is_not_new() -> None:
    """It was stored with its identifier: only PUBREC is owed."""
    assert not after(1, ONE).publish(5, ONE)


def test_the_same_message_under_the_same_identifier_is_new_within_a_connection() -> None:
    """MQTT forbids resending there, and a broker with a large backlog reuses identifiers in flight."""
    memory = Inflight(1)

    assert memory.publish(5, ONE)
    assert memory.publish(5, ONE)


def test_another_message_under_a_remembered_identifier_is_new() -> None:
    """The identifier alone says nothing."""
    assert after(1, ONE).publish(5, TWO)


def test_another_identifier_is_another_message() -> None:
    """Identical payloads are common."""
    assert after(1, ONE).publish(6, ONE)


def test_an_entry_answers_once_per_connection() -> None:
    """Of three identical messages under one identifier, two were stored: the third is new."""
    memory = after(1, ONE, ONE)

    assert [memory.publish(5, ONE) for _ in range(3)] == [False, False, True]


def test_an_entry_answers_on_every_later_connection() -> None:
    """The connection may break as often as it likes."""
    memory = after(1, ONE)
    for connection in range(3, 6):
        assert not memory.publish(5, ONE)
        memory = later(memory, connection)


def test_pubrel_forgets_the_message() -> None:
    """The exchange is over, the identifier free for an identical message."""
    memory = after(1, ONE)
    memory.answered()
    memory.release(5)

    assert len(memory) == 0
    assert memory.publish(5, ONE)


def test_pubrel_of_an_unknown_identifier_changes_nothing() -> None:
    """It was forgotten and the PUBCOMP got lost."""
    memory = Inflight(1)
    memory.release(5)

    assert memory.take_changes() == []


def test_pubrel_ends_the_first_of_two_in_flight() -> None:
    """Brokers answer in order."""
    memory = Inflight(1)
    memory.publish(5, ONE)
    memory.publish(5, TWO)
    memory.release(5)
    memory = later(memory, 2)

    assert not memory.publish(5, TWO)
    assert memory.publish(5, ONE)


def test_pubrel_ends_a_message_of_this_connection_and_stale_ones_before_it() -> None:
    """The broker dropped an exchange after PUBREC and used its identifier again."""
    memory = after(1, ONE)
    memory.publish(5, TWO)
    memory.release(5)

    assert len(memory) == 0


def test_pubrel_ends_the_oldest_where_none_came_on_this_connection() -> None:
    """PUBRELs that were outstanding come first after a reconnect, in order."""
    memory = after(1, ONE, TWO)
    memory.release(5)

    assert not memory.publish(5, TWO)


def test_changes_are_the_final_state_of_each_identifier() -> None:
    """A PUBLISH and its PUBREL in one batch leave nothing behind, whatever order the store takes them in."""
    memory = Inflight(3)
    memory.publish(5, ONE)
    memory.publish(6, TWO)
    memory.release(5)

    assert memory.take_changes() == [(5, b""), (6, TWO + b"\0\0\0\3")]
    assert memory.take_changes() == []


def test_entries_are_digest_and_connection_end_to_end() -> None:
    """Redis keeps these bytes over upgrades."""
    memory = Inflight(0x01020304)
    memory.publish(9, ONE)
    memory.publish(9, TWO)

    ((_, packed),) = memory.take_changes()
    assert packed == ONE + b"\1\2\3\4" + TWO + b"\1\2\3\4"
    assert len(packed) == 2 * ENTRY_BYTES


def test_a_new_session_of_the_broker_clears_all() -> None:
    """Its identifiers have nothing to do with the old ones."""
    memory = after(1, ONE)
    memory.clear()

    assert memory.publish(5, ONE)


def test_a_publish_right_after_the_pubrel_that_ended_it_is_not_new() -> None:
    """Aedes sends both again when a client comes back; it is remembered until PUBREL comes once more."""
    memory = after(1, ONE)
    memory.release(5)

    assert not memory.publish(5, ONE)
    assert len(memory) == 1
    memory.release(5)
    assert len(memory) == 0


@pytest.mark.parametrize("between", [RESENT_WITHIN, 0])
def test_an_identifier_may_be_given_again_once_we_have_answered_or_long_after(between: int) -> None:
    """Then the same PUBLISH is another message: the identifier was free, or 65,535 others came first."""
    memory = after(1, ONE)
    memory.release(5)
    if between:
        for packet_id in range(100, 100 + between):
            memory.publish(packet_id, TWO)
    else:
        memory.answered()

    assert memory.publish(5, ONE)
