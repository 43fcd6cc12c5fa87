"""Messages on a connection: what is acknowledged when, and what becomes of them when it ends."""

from __future__ import annotations

import pytest

from ingest.codec import (
    PUBACKS,
    PUBCOMPS,
    PUBRECS,
    ConnAckPacket,
    DisconnectPacket,
    DisconnectReasonCode,
    OversizedPublish,
    Protocol,
    PubAckPacket,
    PubRelPacket,
)
from ingest.session_events import Admit, BeginEpoch, Closed, Malformed, OversizedDropped, SessionRecord
from ingest.session_states import State
from shared.definitions import Topic
from shared.envelope import decode_envelope
from shared.errors import InternalError
from tests.unit.ingest.session_driver import Driver, publish


def established(protocol: Protocol = Protocol.V5, alias_maximum: int = 0) -> Driver:
    """A session that waits for messages."""
    driver = Driver(Topic("demo/#", 2), protocol=protocol, topic_alias_maximum=alias_maximum)
    driver.establish()
    return driver


@pytest.mark.parametrize("protocol", Protocol)
def test_nothing_is_acknowledged_before_it_is_stored(protocol: Protocol) -> None:
    """Then all acknowledgements of the batch are one write, in order."""
    driver = established(protocol)
    driver.feed(publish(packet_id=1), publish(qos=2, packet_id=2), publish(qos=0), PubRelPacket(9))
    (request,) = driver.requests()
    before = driver.writes()
    driver.session.stored()

    assert isinstance(request, Admit)
    assert [decode_envelope(each).qos for each in request.batch.envelopes] == [1, 2, 0]
    assert before == []
    assert driver.writes() == [PUBACKS[1] + PUBRECS[2] + PUBCOMPS[9]]


def test_acknowledgements_keep_their_order_over_batches() -> None:
    """Several batches may be on their way."""
    driver = established()
    driver.feed(publish(packet_id=1))
    first = driver.requests()
    driver.feed(publish(packet_id=2))
    second = driver.requests()
    driver.feed(PubRelPacket(3))
    third = driver.requests()
    driver.session.stored()
    after_one = driver.writes()
    driver.session.stored()

    assert (len(first), len(second), len(third)) == (1, 1, 0)
    assert after_one == [PUBACKS[1]]
    assert driver.writes() == [PUBACKS[2] + PUBCOMPS[3]]


def test_reads_gather_in_one_batch_until_requests_are_taken() -> None:
    """The slower the store, the larger the batches."""
    driver = established()
    for number in range(3):
        driver.feed(publish(packet_id=number + 1))

    assert driver.session.buffered_bytes > 0
    assert driver.admitted().received == 3
    assert driver.session.buffered_bytes == 0


def test_an_unknown_pubrel_needs_no_store() -> None:
    """It was forgotten before; PUBCOMP is all that the broker waits for."""
    driver = established()
    driver.feed(PubRelPacket(9))

    assert driver.requests() == []
    assert driver.writes() == [PUBCOMPS[9]]


def test_publish_and_pubrel_in_one_read_leave_no_identifier() -> None:
    """The store is told the final state."""
    driver = established()
    driver.feed(publish(qos=2), PubRelPacket(7))

    assert driver.admitted().packet_ids == [(7, b"")]
    assert driver.writes() == [PUBRECS[7] + PUBCOMPS[7]]


def test_a_message_that_was_stored_before_the_connection_broke_is_not_admitted_again() -> None:
    """The whole of QoS 2 in one test: the identifiers come back from the store."""
    driver = established()
    driver.feed(publish(qos=2))
    driver.session.connection_lost("cable")
    batch = driver.admitted()
    record = SessionRecord(1, 2, Protocol.V5, driver.answered_subscriptions(), dict(batch.packet_ids))
    driver.connect(record)
    driver.feed(ConnAckPacket(session_present=True), publish(qos=2))
    (_, again) = driver.store()

    assert isinstance(again, Admit)
    assert (again.batch.received, again.batch.duplicate, again.batch.envelopes) == (1, 1, [])
    assert driver.writes() == [PUBRECS[7]]


def test_messages_before_suback_are_taken_in() -> None:
    """Brokers resend the whole backlog before they answer SUBSCRIBE."""
    driver = Driver()
    driver.connect(SessionRecord(1, 2, Protocol.V5, None, {}))
    driver.feed(ConnAckPacket(session_present=True), publish(packet_id=1))
    driver.store()
    driver.feed(publish(packet_id=2))
    driver.store()

    assert driver.session.state is State.SUBSCRIBING
    assert b"".join(driver.writes()).count(PUBACKS[1]) == 1
    assert sum(len(each.batch.envelopes) for each in driver.answered if isinstance(each, Admit)) == 2


def test_messages_of_a_new_session_come_behind_its_epoch() -> None:
    """Some brokers deliver retained messages to whoever connects."""
    driver = Driver()
    driver.connect()
    driver.feed(ConnAckPacket(), publish(qos=0, retain=True))

    assert [type(request) for request in driver.requests()] == [BeginEpoch, Admit]


def test_a_lost_connection_loses_no_message_that_was_read() -> None:
    """It goes to the store all the same; the acknowledgements are void."""
    driver = established()
    driver.feed(publish(packet_id=1), publish(qos=0))
    driver.session.connection_lost("cable")

    assert driver.admitted().received == 2
    assert driver.writes() == []
    assert driver.events(Closed) == [Closed("cable", accepted=True)]


def test_a_lost_lease_silences_the_session() -> None:
    """Not a byte more to broker or store: both belong to another process now."""
    driver = established()
    driver.feed(publish(packet_id=1))
    driver.requests()
    driver.feed(publish(packet_id=2))
    driver.session.fenced()

    assert driver.writes() == []
    assert driver.requests() == []
    assert driver.session.unanswered == 0
    assert driver.events(Closed)
    assert driver.session.state is State.CLOSED


def test_draining_answers_for_what_was_received_and_then_says_goodbye() -> None:
    """DISCONNECT 0x00, without a word about the session's expiry."""
    driver = established()
    driver.feed(publish(packet_id=1))
    driver.session.disconnect()
    driver.feed(publish(packet_id=2))
    (request,) = driver.requests()
    before = driver.writes()
    driver.session.stored()
    ack, goodbye = driver.writes()

    assert isinstance(request, Admit)
    assert before == []
    assert ack == PUBACKS[1]
    assert goodbye == DisconnectPacket().write()
    assert driver.events(Closed) == [Closed("stopped", accepted=True)]


def test_draining_with_nothing_outstanding_is_over_at_once() -> None:
    """Also before the broker has accepted us, where there is nobody to say goodbye to."""
    idle = established(Protocol.V311)
    idle.session.disconnect()
    early = Driver()
    early.connect()
    early.session.disconnect()

    assert idle.writes() == [b"\xe0\0"]
    assert early.writes() == []
    assert idle.session.state is early.session.state is State.CLOSED
    idle.session.disconnect()


def test_an_answer_that_nobody_waits_for_is_our_mistake() -> None:
    """The writer and the session would be out of step."""
    with pytest.raises(InternalError, match="no request waits"):
        established().session.stored()


def test_a_message_over_the_limit_is_settled_and_told() -> None:
    """It is acknowledged like any other, and somebody should know."""
    driver = established()
    driver.feed(OversizedPublish(publish("demo/big", b"", qos=1), 99, b"12345678", b"head"))
    batch = driver.admitted()

    assert batch.oversized == len(batch.dead_letters) == 1
    assert driver.writes() == [PUBACKS[7]]
    assert driver.events(OversizedDropped) == [OversizedDropped("demo/big", 1, 99)]


def test_topic_aliases_of_the_broker_are_resolved() -> None:
    """A number stands for the topic that it came with last."""
    driver = established(alias_maximum=2)
    driver.feed(
        publish("demo/a", qos=0, topic_alias=1),
        publish("", qos=0, topic_alias=1),
        publish("demo/b", qos=0, topic_alias=1),
        publish("", qos=0, topic_alias=1),
        OversizedPublish(publish("", b"", qos=0, topic_alias=1), 99, b"12345678", b""),
    )

    assert [each.topic for each in driver.envelopes()] == ["demo/a", "demo/a", "demo/b", "demo/b"]
    assert driver.events(OversizedDropped)[0].topic == "demo/b"


@pytest.mark.parametrize("alias", [2, 3])
def test_an_alias_that_means_nothing_ends_the_connection(alias: int) -> None:
    """It was never given, or is above what we allowed (MQTT 5 §3.3.2.3.4)."""
    driver = established(alias_maximum=2)
    driver.feed(publish("" if alias == 2 else "demo/a", qos=0, topic_alias=alias))

    (goodbye,) = driver.sent()
    assert isinstance(goodbye, DisconnectPacket)
    assert goodbye.reason_code == DisconnectReasonCode.TOPIC_ALIAS_INVALID


def test_aliases_end_with_their_connection() -> None:
    """The next one begins without."""
    driver = established(alias_maximum=2)
    driver.feed(publish("demo/a", qos=0, topic_alias=1))
    driver.session.connection_lost("cable")
    driver.store()
    driver.connect()
    driver.feed(ConnAckPacket())
    driver.store()
    driver.feed(publish("", qos=0, topic_alias=1))

    assert driver.events(Malformed)


def test_a_packet_that_only_we_may_earn_ends_the_connection() -> None:
    """The session publishes nothing that could be acknowledged."""
    driver = established()
    driver.feed(publish(packet_id=1), PubAckPacket(1))

    assert driver.events(Malformed)[0].detail.startswith("PUBACK: it has no place while established")
    assert driver.admitted().received == 1
