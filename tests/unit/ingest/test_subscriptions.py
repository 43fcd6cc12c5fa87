"""What is asked of a broker, so that it delivers what the trigger wants."""

from __future__ import annotations

from itertools import count

import pytest

from ingest.codec import Protocol, QoS, RetainHandling, SubAckReasonCode
from ingest.subscriptions import (
    GENERATIONS,
    PER_PACKET,
    Plan,
    Subscriptions,
    Wanted,
    decode_subscriptions,
    encode_subscriptions,
    generation_number,
    generation_of,
    next_subscriptions,
    plan_subscriptions,
    subscribe_packets,
    unavailable,
    unsubscribe_packets,
    wanted_filters,
    with_grants,
)
from shared.definitions import Topic
from tests.support.factories import make_trigger

A, B = Wanted("a/#", 2), Wanted("b/+", 1)


def subscribed(*wanted: Wanted, known: Subscriptions | None = None, number: int = 1 << 20) -> Subscriptions:
    """All of these, granted as asked."""
    plan = plan_subscriptions(wanted, known, Protocol.V5, certain=True)
    planned = next_subscriptions(wanted, plan, known, number, identifiers=True)
    return with_grants(planned, {each.filter: each.qos for each in wanted})


def test_filters_are_asked_for_once_best_first_without_names() -> None:
    """Named levels are wildcards to the broker, and the same filter twice is one subscription."""
    trigger = make_trigger(Topic("a", 0), Topic("p/{site}/t", 1), Topic("b", 2), Topic("p/+/t", 0), Topic("c", 1))

    assert wanted_filters(trigger) == [Wanted("b", 2), Wanted("p/+/t", 1), Wanted("c", 1), Wanted("a", 0)]


@pytest.mark.parametrize("protocol", Protocol)
def test_a_new_session_is_asked_for_everything(protocol: Protocol) -> None:
    """Nothing is subscribed yet, whatever was recorded before."""
    plan = plan_subscriptions([A, B], None, protocol, certain=True)

    assert plan.subscribe == [A, B]
    assert plan.unsubscribe == []


@pytest.mark.parametrize("protocol", Protocol)
def test_a_session_that_is_as_wanted_is_asked_for_nothing(protocol: Protocol) -> None:
    """A reconnect costs no SUBSCRIBE."""
    plan = plan_subscriptions([A, B], subscribed(A, B), protocol, certain=True)

    assert plan == Plan([], [])


@pytest.mark.parametrize("protocol", Protocol)
def test_a_session_that_may_be_another_is_asked_for_everything(protocol: Protocol) -> None:
    """The record may be of one that the broker has lost."""
    assert plan_subscriptions([A, B], subscribed(A, B), protocol, certain=False).subscribe == [A, B]


def test_on_mqtt_5_any_difference_asks_for_everything_again() -> None:
    """The new identifiers tell before from after; retained messages do not come again."""
    plan = plan_subscriptions([A], subscribed(A, B), Protocol.V5, certain=True)

    assert plan.subscribe == [A]
    assert plan.unsubscribe == ["b/+"]


def test_on_3_1_1_only_the_difference_is_asked_for() -> None:
    """Every SUBSCRIBE brings the retained messages once more."""
    new = Wanted("c", 1)
    plan = plan_subscriptions([A, new], subscribed(A, B), Protocol.V311, certain=True)

    assert plan.subscribe == [new]
    assert plan.unsubscribe == ["b/+"]


def test_another_qos_is_a_difference() -> None:
    """Subscribing again replaces the subscription."""
    better = Wanted("b/+", 2)

    assert plan_subscriptions([A, better], subscribed(A, B), Protocol.V311, certain=True).subscribe == [better]


def test_what_was_refused_is_asked_for_again() -> None:
    """Somebody may have mended the access rules."""
    known = with_grants(subscribed(A, B), {"b/+": 0x87})

    assert plan_subscriptions([A, B], known, Protocol.V311, certain=True).subscribe == [B]


def test_a_lower_qos_than_asked_for_is_accepted() -> None:
    """The broker would grant no more a second time."""
    known = with_grants(subscribed(A, B), {"a/#": 0})

    assert plan_subscriptions([A, B], known, Protocol.V5, certain=True).subscribe == []


def test_what_was_leaving_when_we_died_still_has_to_go() -> None:
    """Its UNSUBSCRIBE may never have been sent."""
    plan = plan_subscriptions([A], subscribed(A, B), Protocol.V5, certain=True)
    intended = next_subscriptions([A], plan, subscribed(A, B), 2 << 20, identifiers=True)

    assert intended.leaving == ["b/+"]
    granted = with_grants(intended, {"a/#": 2})
    assert plan_subscriptions([A], granted, Protocol.V5, certain=True).unsubscribe == ["b/+"]


def test_identifiers_differ_between_filters_and_between_generations() -> None:
    """A queued message tells under which filters it was routed."""
    first = subscribed(A, B)
    second = subscribed(A, known=first, number=generation_number(1, 1))
    identifiers = [each.identifier for generation in second.generations for each in generation.filters]

    assert len(set(identifiers)) == 3
    assert generation_of(identifiers[1]) == generation_of(identifiers[2]) != generation_of(identifiers[0])


@pytest.mark.parametrize("connection", [1, 1 << 14, (1 << 14) - 1, 1 << 31])
def test_identifiers_stay_within_what_mqtt_allows(connection: int) -> None:
    """1 to 268,435,455, however many connections there were."""
    for each in subscribed(A, B, number=generation_number(connection, 15)).current:
        assert 1 <= each.identifier <= 268_435_455


def test_more_filters_than_identifiers_are_subscribed_without() -> None:
    """Their copies then always count."""
    many = [Wanted(f"t/{number}", 1) for number in range(1100)]
    current = subscribed(*many).current

    assert current[1022].identifier
    assert not any(each.identifier for each in current[1023:])


def test_only_so_many_generations_are_kept() -> None:
    """The record must not grow with every deployment."""
    known = None
    for number in range(10):
        known = subscribed(Wanted(f"t/{number}", 1), known=known, number=generation_number(1, number))

    assert known is not None
    assert len(known.generations) == GENERATIONS


def test_a_filter_keeps_the_generation_that_it_was_first_subscribed_with() -> None:
    """That is when its retained messages came."""
    first = subscribed(A, number=7)
    second = subscribed(A, B, known=first, number=8)

    assert [each.since for each in second.current] == [7, 8]


def test_asking_for_the_same_again_is_no_new_generation() -> None:
    """Connections that break early would otherwise push the known ones out."""
    known = subscribed(A, B)
    plan = plan_subscriptions([A, B], known, Protocol.V5, certain=False)

    assert next_subscriptions([A, B], plan, known, 9 << 20, identifiers=True).current == known.current


def test_asking_again_after_a_refusal_is_a_new_generation() -> None:
    """Messages were routed while the refused filter did not cover them."""
    known = with_grants(subscribed(A, B), {"a/#": 0x87})
    plan = plan_subscriptions([A, B], known, Protocol.V5, certain=True)

    assert next_subscriptions([A, B], plan, known, 9 << 20, identifiers=True).generations[0].number == 9 << 20


def test_on_mqtt_5_each_filter_has_a_packet_with_its_identifier() -> None:
    """An identifier counts for all filters of its packet."""
    current = subscribed(A, B).current
    packets = subscribe_packets(current, Protocol.V5, count(1))

    assert [packet.subscription_id for packet, _ in packets] == [each.identifier for each in current]
    assert [filters for _, filters in packets] == [["a/#"], ["b/+"]]
    (option,) = packets[0][0].topic_filters
    assert option.retain_handling == RetainHandling.SEND_IF_SUBSCRIPTION_NOT_EXISTS
    assert option.max_qos == QoS.EXACTLY_ONCE
    assert not option.retain_as_published


def test_without_identifiers_filters_share_packets_of_eight() -> None:
    """AWS IoT Core takes no more."""
    wanted = [Wanted(f"t/{number}", 1) for number in range(PER_PACKET + 1)]
    plan = plan_subscriptions(wanted, None, Protocol.V311, certain=True)
    planned = next_subscriptions(wanted, plan, None, 1 << 20, identifiers=False)
    packets = subscribe_packets(planned.current, Protocol.V311, count(1))

    assert [len(filters) for _, filters in packets] == [PER_PACKET, 1]
    assert [len(each.patterns) for each in unsubscribe_packets([each.filter for each in wanted], count(1))] == [8, 1]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("$share/g/a", SubAckReasonCode.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED),
        ("a/+/b", SubAckReasonCode.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED),
        ("a/b", None),
    ],
)
def test_what_connack_excluded_is_not_asked_for(text: str, expected: SubAckReasonCode | None) -> None:
    """Brokers end the connection over it, and would again after every reconnect."""
    code = unavailable(text, shared=False, wildcards=False)

    assert code == (None if expected is None else int(expected))
    assert unavailable(text, shared=True, wildcards=True) is None


def test_the_record_survives_a_round_trip() -> None:
    """It is JSON in Redis."""
    known = subscribed(A, B)

    assert decode_subscriptions(encode_subscriptions(known)) == known


@pytest.mark.parametrize("text", ["", "{}", "null", "[1]", "not JSON"])
def test_a_record_that_cannot_be_read_counts_as_none(text: str) -> None:
    """Everything is then subscribed again, which is always safe."""
    assert decode_subscriptions(text) is None
