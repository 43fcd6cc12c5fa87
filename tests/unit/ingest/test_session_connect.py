"""From CONNECT to the answer: new and resumed sessions, refusals, the end of a connection."""

from __future__ import annotations

import pytest

from ingest.codec import (
    ConnAckPacket,
    ConnAckReasonCode,
    ConnectPacket,
    DisconnectPacket,
    DisconnectReasonCode,
    MalformedPacket,
    Protocol,
    Reason,
    SubscribePacket,
)
from ingest.handshake import ConnectStep
from ingest.session_events import (
    BeginEpoch,
    Closed,
    Connected,
    Malformed,
    ProtocolRefused,
    Purged,
    RecordSubscriptions,
    Refused,
    ServerDisconnect,
    SessionConfig,
    SessionRecord,
    TakenOver,
)
from ingest.session_states import State
from ingest.subscriptions import Generation, Subscriptions, decode_subscriptions
from shared.config import IngestSettings
from shared.definitions import Broker
from shared.errors import InternalError
from shared.scripts.ingest import SessionReply
from tests.support.factories import VERSION, make_trigger
from tests.unit.ingest.session_driver import Driver, only, publish, resuming

NEVER = SessionRecord(0, 1, None, None, {})
PURGE = {protocol: ConnectStep(protocol, clean_start=True, purge=True) for protocol in Protocol}


def known(protocol: Protocol = Protocol.V5, *, lasting: bool = True) -> SessionRecord:
    """A session that has been connected before."""
    return SessionRecord(1, 5, protocol, Subscriptions(4, [Generation(0, [])], lasting=lasting), {})


# --- CONNECT


def test_connect_says_who_we_are_and_how_much_we_take() -> None:
    """Receive Maximum always; Maximum Packet Size never, or brokers drop what is larger without a word."""
    broker = Broker("f/demo/broker", "localhost", 1883, username="u", password="p")
    trigger = make_trigger(topic_alias_maximum=9, keep_alive_s=20)
    driver = Driver()
    driver.session = type(driver.session)(SessionConfig.of(trigger, VERSION, broker, IngestSettings()))
    (packet,) = only(ConnectPacket, driver.connect())

    assert (packet.client_id, packet.username, packet.password) == ("headrace-test", "u", b"p")
    assert (packet.clean_start, packet.session_expiry_interval, packet.keep_alive) == (False, 600, 20)
    assert (packet.receive_max, packet.topic_alias_max, packet.max_packet_size) == (1000, 9, None)


def test_the_record_is_what_the_store_answers() -> None:
    """Including one that has never been connected."""
    assert SessionRecord.of(SessionReply(1, 0, 0, "", {})) == NEVER
    assert SessionRecord.of(SessionReply(5, 1, 4, "", {7: b"x"})) == SessionRecord(1, 5, Protocol.V311, None, {7: b"x"})


# --- CONNACK


@pytest.mark.parametrize("protocol", Protocol)
def test_a_purge_is_over_with_connack(protocol: Protocol) -> None:
    """DISCONNECT ends the old session; nothing is subscribed, nothing stored."""
    driver = Driver(protocol=protocol)
    driver.connect(step=PURGE[protocol])
    driver.feed(ConnAckPacket())

    assert [type(packet) for packet in driver.sent()] == [DisconnectPacket]
    assert driver.events(Purged)
    assert driver.events(Closed)
    assert driver.requests() == []


@pytest.mark.parametrize("protocol", Protocol)
def test_a_new_session_begins_an_epoch_before_anything_is_subscribed(protocol: Protocol) -> None:
    """A message must not be taken for one of the session that is gone."""
    driver = Driver(protocol=protocol)
    driver.connect(SessionRecord(3, 8, protocol, None, {7: b"12345678\0\0\0\1"}))
    driver.feed(ConnAckPacket())

    assert driver.requests() == [BeginEpoch(protocol)]
    assert driver.session.remembered == 0
    assert driver.writes() == []
    driver.session.stored()
    (intention,) = driver.requests()
    assert isinstance(intention, RecordSubscriptions)
    assert driver.writes() == []
    driver.session.stored()
    assert only(SubscribePacket, driver.sent())


def test_a_session_without_an_epoch_of_ours_begins_one_though_it_is_present() -> None:
    """The broker had it from somebody else, or from a protocol version that ended."""
    for record in (NEVER, SessionRecord(2, 9, Protocol.V311, None, {})):
        driver = Driver()
        driver.connect(record)
        driver.feed(ConnAckPacket(session_present=True))

        assert driver.requests() == [BeginEpoch(Protocol.V5)]


def test_a_session_that_is_present_after_a_clean_start_is_the_brokers_mistake() -> None:
    """MQTT 5 §3.2.2.1.1."""
    driver = Driver()
    driver.connect(step=ConnectStep(Protocol.V5, clean_start=True))
    driver.feed(ConnAckPacket(session_present=True))

    (packet,) = only(DisconnectPacket, driver.sent())
    assert packet.reason_code == DisconnectReasonCode.PROTOCOL_ERROR
    assert driver.session.state is State.CLOSED


def test_the_brokers_limits_are_told() -> None:
    """For whoever shows them."""
    driver = Driver()
    driver.connect()
    driver.feed(ConnAckPacket(server_keep_alive=7, session_expiry_interval=5, shared_subscription_available=False))

    (event,) = driver.events(Connected)
    assert (event.keep_alive_s, event.session_expiry_s, event.shared_available) == (7, 5, False)
    assert event.identifiers_available


@pytest.mark.parametrize(
    "code, permanent",
    [
        (ConnAckReasonCode.BAD_USER_NAME_OR_PASSWORD, True),
        (ConnAckReasonCode.NOT_AUTHORIZED, True),
        (ConnAckReasonCode.CLIENT_ID_NOT_VALID, True),
        (ConnAckReasonCode.BANNED, True),
        (ConnAckReasonCode.SERVER_UNAVAILABLE, False),
        (ConnAckReasonCode.SERVER_BUSY, False),
        (ConnAckReasonCode.QUOTA_EXCEEDED, False),
        (ConnAckReasonCode.CONNECTION_RATE_EXCEEDED, False),
    ],
)
def test_a_refusal_says_whether_a_person_has_to_mend_it(code: ConnAckReasonCode, permanent: bool) -> None:  # noqa: FBT001
    """The wait before the next try hangs on it."""
    driver = Driver()
    driver.connect()
    driver.feed(ConnAckPacket(reason_code=code, reason_str="why"))

    (event,) = driver.events(Refused)
    assert event.permanent is permanent
    assert event.reason.endswith(": why")
    (closed,) = driver.events(Closed)
    assert not closed.accepted


@pytest.mark.parametrize("protocol, event", [(Protocol.V5, ProtocolRefused), (Protocol.V311, Refused)])
def test_a_broker_that_refuses_mqtt_5_is_told_apart(protocol: Protocol, event: type) -> None:
    """There is another version to try."""
    driver = Driver(protocol=protocol)
    driver.connect()
    driver.feed(ConnAckPacket(reason_code=ConnAckReasonCode.UNSUPPORTED_PROTOCOL_VERSION))

    assert driver.events(event)


def test_a_refusal_leaves_the_session_certain() -> None:
    """The broker has not touched it: the next connection need not subscribe again."""
    driver = Driver()
    driver.connect(known())
    driver.feed(ConnAckPacket(reason_code=ConnAckReasonCode.SERVER_BUSY))

    (request,) = driver.requests()
    assert isinstance(request, RecordSubscriptions)
    recorded = decode_subscriptions(request.json)
    assert recorded is not None
    assert recorded.connection == 5


def test_a_connection_waits_for_the_answers_of_the_last_one() -> None:
    """The record must be read after they are applied."""
    driver = Driver()
    driver.connect()
    driver.feed(ConnAckPacket())
    driver.session.connection_lost("cable")

    with pytest.raises(InternalError, match="1 requests unanswered"):
        driver.connect()
    driver.store()
    driver.connect()


def test_a_message_before_connack_ends_the_connection() -> None:
    """With the reason, where the protocol has one."""
    for protocol, expected in ((Protocol.V5, [DisconnectPacket]), (Protocol.V311, [])):
        driver = Driver(protocol=protocol)
        driver.connect()
        driver.feed(publish(qos=0))

        assert [type(packet) for packet in driver.sent()] == expected
        (event,) = driver.events(Malformed)
        assert event.detail.startswith("PUBLISH: it has no place while connecting")


def test_a_malformed_packet_is_answered_with_its_reason() -> None:
    """And told with how often it came in a row: it may come again for ever."""
    driver = Driver()
    for _ in range(3):
        driver.store()
        driver.connect()
        driver.feed(ConnAckPacket())
        driver.session.malformed(MalformedPacket(Reason.TOPIC_NAME_INVALID, 0x30, "a wildcard in the topic", 4))
        (packet,) = only(DisconnectPacket, driver.sent())

        assert packet.reason_code == DisconnectReasonCode.TOPIC_NAME_INVALID

    assert [(event.times, event.stuck) for event in driver.events(Malformed)] == [(1, False), (2, False), (3, True)]


def test_another_malformed_packet_is_counted_anew() -> None:
    """It is not the same one that is stuck."""
    driver = Driver()
    for detail in "aabb":
        driver.connect()
        driver.session.malformed(MalformedPacket(Reason.MALFORMED_PACKET, 0x30, detail))

    assert [event.times for event in driver.events(Malformed)] == [1, 2, 1, 2]


@pytest.mark.parametrize(
    "code, kind",
    [
        (DisconnectReasonCode.SESSION_TAKEN_OVER, TakenOver),
        (DisconnectReasonCode.SERVER_SHUTTING_DOWN, ServerDisconnect),
    ],
)
def test_a_disconnect_from_the_broker_ends_the_connection(code: DisconnectReasonCode, kind: type) -> None:
    """A take-over is told apart: two clients with one client id fight for ever."""
    driver = Driver()
    driver.establish()
    driver.feed(DisconnectPacket(reason_code=code))

    assert driver.events(kind)
    assert driver.session.state is State.CLOSED
    assert driver.sent() == []


def test_a_resumed_connection_is_told_from_a_new_one() -> None:
    """By session_present, as the broker says it."""
    driver = Driver()
    driver.connect(known(), resuming())
    driver.feed(ConnAckPacket(session_present=True))

    assert [event.session_present for event in driver.events(Connected)] == [True]
