"""Subscriptions over the life of a session: what is asked, when, and what is remembered of it."""

from __future__ import annotations

import pytest

from ingest.codec import (
    ConnAckPacket,
    DisconnectPacket,
    Protocol,
    SubAckPacket,
    SubAckReasonCode,
    SubscribePacket,
    UnsubAckPacket,
    UnsubscribePacket,
)
from ingest.session_events import (
    Admit,
    BeginEpoch,
    Malformed,
    RecordSubscriptions,
    SessionRecord,
    SubscriptionRefused,
    SubscriptionsGranted,
)
from ingest.session_states import State
from ingest.subscriptions import decode_subscriptions
from shared.definitions import Topic
from shared.envelope import decode_envelope
from tests.support.factories import VERSION, make_trigger
from tests.unit.ingest.session_driver import Driver, only, publish

TWO = (Topic("a/#", 2), Topic("b/{site}", 1))


def resumed(driver: Driver, connection: int = 2) -> Driver:
    """The same session on its next connection, as the store and the broker remember it."""
    driver.session.connection_lost("cable")
    driver.store()
    driver.connect(SessionRecord(1, connection, driver.protocol, driver.answered_subscriptions(), {}))
    driver.feed(ConnAckPacket(session_present=True))
    driver.store()
    return driver


@pytest.mark.parametrize("protocol", Protocol)
def test_what_is_granted_is_recorded_and_told(protocol: Protocol) -> None:
    """By topic as the trigger names it."""
    driver = Driver(*TWO, protocol=protocol)
    driver.establish()

    assert driver.session.state is State.ESTABLISHED
    assert driver.events(SubscriptionsGranted) == [SubscriptionsGranted({"a/#": 2, "b/{site}": 1})]
    recorded = driver.answered_subscriptions()
    assert [(each.filter, each.granted) for each in recorded.current] == [("a/#", 2), ("b/+", 1)]
    assert (recorded.connection, recorded.lasting, recorded.leaving) == (1, True, [])


def test_the_store_knows_before_the_broker_does() -> None:
    """Else a crash in between could leave a subscription that nobody remembers."""
    driver = Driver(*TWO)
    driver.establish()

    kinds = [type(request) for request in driver.answered]
    assert kinds == [BeginEpoch, RecordSubscriptions, RecordSubscriptions]
    first = driver.answered[1]
    assert isinstance(first, RecordSubscriptions)
    intended = decode_subscriptions(first.json)
    assert intended is not None
    assert [each.granted for each in intended.current] == [None, None]


def test_a_resumed_session_that_is_as_wanted_asks_for_nothing() -> None:
    """It only records that it was seen."""
    driver = Driver(*TWO)
    driver.establish()
    resumed(driver)

    assert driver.sent() == []
    assert driver.session.state is State.ESTABLISHED
    assert driver.answered_subscriptions().connection == 2
    assert len(driver.events(SubscriptionsGranted)) == 2


@pytest.mark.parametrize("protocol", Protocol)
def test_a_connection_in_between_that_ended_early_makes_it_subscribe_again(protocol: Protocol) -> None:
    """The broker may have lost the session and begun another one on it: nothing would ever arrive."""
    driver = Driver(*TWO, protocol=protocol)
    driver.establish()
    resumed(driver, connection=3)

    assert only(SubscribePacket, driver.grant())
    assert driver.answered_subscriptions().connection == 3


def test_a_session_without_a_record_subscribes_again() -> None:
    """Whatever session_present says."""
    driver = Driver(*TWO)
    driver.connect(SessionRecord(1, 2, Protocol.V5, None, {}))
    driver.feed(ConnAckPacket(session_present=True))
    driver.store()

    assert len(only(SubscribePacket, driver.sent())) == 2


def test_what_is_no_longer_wanted_goes_after_the_rest_is_granted() -> None:
    """No message may fall between the old filter and the new."""
    driver = Driver(*TWO)
    driver.establish()
    driver.session.change_subscriptions(make_trigger(Topic("c", 1)), "next")
    driver.store()
    (subscribe,) = driver.sent()
    assert isinstance(subscribe, SubscribePacket)
    driver.feed(SubAckPacket(subscribe.packet_id, [SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE]))
    (unsubscribe,) = driver.sent()
    assert isinstance(unsubscribe, UnsubscribePacket)
    driver.feed(UnsubAckPacket(unsubscribe.packet_id, []))
    driver.store()

    assert unsubscribe.patterns == ["a/#", "b/+"]
    assert driver.session.state is State.ESTABLISHED
    assert [each.filter for each in driver.answered_subscriptions().current] == ["c"]


def test_a_crash_before_unsuback_does_not_forget_what_has_to_go() -> None:
    """It would stay subscribed for ever."""
    driver = Driver(*TWO)
    driver.establish()
    driver.session.change_subscriptions(make_trigger(TWO[0]), "next")
    driver.store()
    resumed(driver)

    (unsubscribe,) = only(UnsubscribePacket, driver.grant())
    assert unsubscribe.patterns == ["b/+"]


def test_envelopes_carry_the_deployment_under_which_they_were_admitted() -> None:
    """From the change on, without a new connection; what was read before keeps its own."""
    driver = Driver(*TWO)
    driver.establish()
    driver.feed(publish("a/1"))
    driver.session.change_subscriptions(make_trigger(Topic("z", 1), TWO[0]), "next")
    driver.feed(publish("a/1"))
    requests = [each for each in driver.store() if isinstance(each, Admit)]
    envelopes = [decode_envelope(each) for request in requests for each in request.batch.envelopes]

    assert [(each.trigger_version, each.filters) for each in envelopes] == [(VERSION, [0]), ("next", [1])]


def test_a_deployment_while_subscribing_is_taken_up_afterwards() -> None:
    """One exchange at a time."""
    driver = Driver(Topic("a", 1))
    driver.connect()
    driver.feed(ConnAckPacket())
    driver.store()
    driver.session.change_subscriptions(make_trigger(Topic("b", 1)), "next")
    asked = driver.grant()

    filters = [each.pattern for packet in only(SubscribePacket, asked) for each in packet.topic_filters]
    assert filters == ["a", "b"]
    assert [packet.patterns for packet in only(UnsubscribePacket, asked)] == [["a"]]
    assert driver.session.state is State.ESTABLISHED


@pytest.mark.parametrize("moment", ["closed", "connecting", "opening"])
def test_a_deployment_before_anything_is_subscribed_simply_counts(moment: str) -> None:
    """What is asked for is what is wanted then."""
    driver = Driver(Topic("a", 1))
    if moment != "closed":
        driver.connect()
    if moment == "opening":
        driver.feed(ConnAckPacket())
    driver.session.change_subscriptions(make_trigger(Topic("b", 1)), "next")
    if moment == "closed":
        driver.connect()
    if moment != "opening":
        driver.feed(ConnAckPacket())
    driver.store()

    assert [each.pattern for packet in only(SubscribePacket, driver.grant()) for each in packet.topic_filters] == ["b"]


def test_a_refused_topic_is_told_and_asked_for_again_next_time() -> None:
    """Nothing stops a trigger for good."""
    driver = Driver(*TWO)
    driver.establish(SubAckReasonCode.GRANTED_QOS_EXACTLY_ONCE, SubAckReasonCode.NOT_AUTHORIZED)

    assert driver.events(SubscriptionRefused) == [SubscriptionRefused("b/{site}", 0x87)]
    assert driver.events(SubscriptionsGranted) == [SubscriptionsGranted({"a/#": 2})]
    assert only(SubscribePacket, resumed(driver).sent())


def test_a_topic_that_the_broker_cannot_serve_is_not_asked_for() -> None:
    """It would end the connection, each time."""
    driver = Driver(Topic("$share/g/a", 1), Topic("b", 1))
    asked = driver.establish(shared_subscription_available=False)

    assert [each.pattern for packet in only(SubscribePacket, asked) for each in packet.topic_filters] == ["b"]
    assert driver.events(SubscriptionRefused) == [SubscriptionRefused("$share/g/a", 0x9E)]


def test_where_nothing_can_be_asked_for_the_session_still_stands() -> None:
    """A later deployment may have better topics."""
    driver = Driver(Topic("$share/g/a", 1))
    asked = driver.establish(shared_subscription_available=False)

    assert asked == []
    assert driver.session.state is State.ESTABLISHED


def test_a_broker_without_identifiers_gets_none() -> None:
    """It would end the connection over them."""
    driver = Driver(*TWO)
    asked = driver.establish(subscription_id_available=False)

    (packet,) = only(SubscribePacket, asked)
    assert packet.subscription_id is None
    assert len(packet.topic_filters) == 2


def test_a_suback_that_does_not_fit_ends_the_connection() -> None:
    """What is granted would be anybody's guess."""
    driver = Driver(Topic("a", 1))
    driver.connect()
    driver.feed(ConnAckPacket())
    driver.store()
    (packet,) = driver.sent()
    assert isinstance(packet, SubscribePacket)
    driver.feed(SubAckPacket(packet.packet_id, [SubAckReasonCode.GRANTED_QOS_AT_LEAST_ONCE] * 2))

    assert driver.events(Malformed)[0].detail.startswith("SUBACK: 2 reason codes for 1 filters")
    assert only(DisconnectPacket, driver.sent())


def test_answers_to_what_was_never_asked_are_ignored() -> None:
    """A broker may be late, or wrong, without harm."""
    driver = Driver(Topic("a", 1))
    driver.connect()
    driver.feed(ConnAckPacket())
    driver.store()
    driver.feed(SubAckPacket(999, [SubAckReasonCode.NOT_AUTHORIZED]), UnsubAckPacket(1, []))
    waiting = driver.session.state
    driver.grant()
    driver.feed(SubAckPacket(999, [SubAckReasonCode.NOT_AUTHORIZED]), UnsubAckPacket(999, []))

    assert waiting is State.SUBSCRIBING
    assert driver.session.state is State.ESTABLISHED
    assert driver.store() == []


def test_what_the_broker_shows_of_its_copies_is_recorded() -> None:
    """It decides over messages, also after a crash."""
    driver = Driver(Topic("demo/hello", 2), Topic("demo/+", 1))
    driver.establish()
    best, other = driver.identifier("demo/hello"), driver.identifier("demo/+")
    driver.feed(publish(qos=2, packet_id=1, subscription_ids=[best]), publish(packet_id=2, subscription_ids=[other]))
    kinds = [type(request) for request in driver.store()]

    assert kinds == [Admit, RecordSubscriptions]
    assert driver.answered_subscriptions().copies
    assert resumed(driver).answered_subscriptions().copies


def test_a_new_session_has_everything_to_learn() -> None:
    """It may be at another broker."""
    driver = Driver(Topic("demo/hello", 2), Topic("demo/+", 1))
    driver.establish()
    best, other = driver.identifier("demo/hello"), driver.identifier("demo/+")
    driver.feed(publish(qos=2, packet_id=1, subscription_ids=[best]), publish(packet_id=2, subscription_ids=[other]))
    driver.session.connection_lost("cable")
    driver.store()
    driver.connect(SessionRecord(1, 2, Protocol.V5, driver.answered_subscriptions(), {}))
    driver.feed(ConnAckPacket())
    driver.store()
    driver.grant()

    assert not driver.answered_subscriptions().copies
