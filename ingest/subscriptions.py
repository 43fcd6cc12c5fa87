"""What a trigger wants to be subscribed to, what a broker has granted, and what to send so that they agree.

Subscriptions come in *generations*: all filters that were asked for on one connection, the best first. On MQTT 5 each
filter has a subscription identifier of its own, made of generation and place, so that a message that was queued while
other filters were subscribed still tells under which generation it was routed. That decides which of several copies of
a message counts (`ingest.overlap`). On MQTT 5 any difference makes a new generation of all filters: retain handling 1
keeps retained messages from coming again. On 3.1.1 every SUBSCRIBE brings them, so only the difference is sent.

RETAIN is asked for only where it says that a message was stored when we subscribed (retain as published 0, as on
3.1.1): a live message then never looks like a retained one, which some brokers would go on doing after the option
was withdrawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from ingest.codec import (
    Protocol,
    QoS,
    RetainHandling,
    SubAckReasonCode,
    SubscribePacket,
    TopicFilter,
    UnsubscribePacket,
)
from shared.definitions import Trigger
from shared.topics import parse_filter

REFUSED = 0x80
"""Reason codes from here on are refusals (MQTT 5 §3.9.3)."""
GENERATIONS = 4
"""So many are known at a time; a copy of an older one counts by itself."""
PER_PACKET = 8
"""Filters in one SUBSCRIBE without identifier; AWS IoT Core takes no more."""

_PLACE_BITS = 10
_NUMBER_BITS = 18
_PER_CONNECTION_BITS = 4
_CONNECTION_SHIFT = 20
_QOS = (QoS.AT_MOST_ONCE, QoS.AT_LEAST_ONCE, QoS.EXACTLY_ONCE)


class Wanted(msgspec.Struct, frozen=True):
    """A filter as it goes into SUBSCRIBE, and its QoS."""

    filter: str
    qos: int


class Subscribed(msgspec.Struct, frozen=True, omit_defaults=True):
    """A filter of a generation. `granted` is a QoS or a refusal's reason code, None before SUBACK.

    `identifier` 0: none was sent. `since` is the generation with which the filter was first subscribed.
    """

    filter: str
    requested: int
    since: int
    granted: int | None = None
    identifier: int = 0

    @property
    def accepted(self) -> bool:
        """Whether the broker delivers on it."""
        return self.granted is not None and self.granted < REFUSED


class Generation(msgspec.Struct, frozen=True):
    """The filters that are subscribed together, in the order of SUBSCRIBE. For `number` see `generation_number`."""

    number: int
    filters: list[Subscribed]


class Subscriptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """What Redis knows of a session's subscriptions, newest generation first. Recorded before anything is asked for.

    `connection` is the last one on which broker and trigger agreed: if the next but one finds it here, a broker may
    have begun a new session in between without our noticing. `leaving` are filters of before that may still be
    subscribed. `lasting`: the broker was asked to keep the session. `copies`: the broker was seen to send a copy for
    each filter that matches.
    """

    connection: int
    generations: list[Generation]
    leaving: list[str] = []
    lasting: bool = True
    copies: bool = False

    @property
    def current(self) -> list[Subscribed]:
        """What is subscribed now."""
        return self.generations[0].filters


class Plan(msgspec.Struct, frozen=True):
    """What to ask the broker for. Unsubscribe only when what is subscribed has been granted: nothing falls between."""

    subscribe: list[Wanted]
    unsubscribe: list[str]


def wanted_filters(trigger: Trigger) -> list[Wanted]:
    """The filters of a trigger, each once with its highest QoS, highest QoS first, else in the trigger's order."""
    merged: dict[str, int] = {}
    for topic in trigger.topics:
        text = parse_filter(topic.topic).subscription
        merged[text] = max(merged.get(text, 0), topic.qos)
    return sorted((Wanted(text, qos) for text, qos in merged.items()), key=lambda wanted: -wanted.qos)


def plan_subscriptions(
    wanted: Sequence[Wanted], known: Subscriptions | None, protocol: Protocol, *, certain: bool
) -> Plan:
    """What to send so that the broker delivers what is wanted. Empty: nothing, it already does.

    `known` is what was recorded for the session that the broker has, None for a new session. Not `certain`: the broker
    may have lost it. Filters that were refused are asked for again.
    """
    if known is None:
        return Plan(list(wanted), [])
    texts = {each.filter for each in wanted}
    subscribed = dict.fromkeys([*(each.filter for each in known.current), *known.leaving])
    gone = [each for each in subscribed if each not in texts]
    agreed = {(each.filter, each.requested) for each in known.current if each.accepted}
    missing = [each for each in wanted if not certain or (each.filter, each.qos) not in agreed]
    if missing or gone:
        return Plan(list(wanted) if protocol is Protocol.V5 else missing, gone)
    return Plan([], [])


def next_subscriptions(
    wanted: Sequence[Wanted], plan: Plan, known: Subscriptions | None, number: int, *, identifiers: bool
) -> Subscriptions:
    """The subscriptions once `plan` is carried out as generation `number`; what it asks for is not granted yet.

    To ask for the same once more is no new generation, unless a filter that was refused may now be granted.
    """
    if known is not None and _can_go_on(known, wanted, identifiers=identifiers):
        return msgspec.structs.replace(known, leaving=plan.unsubscribe)
    before = {each.filter: each for each in known.current} if known else {}
    asked = {each.filter for each in plan.subscribe}
    filters = [
        Subscribed(
            each.filter,
            each.qos,
            before[each.filter].since if each.filter in before else number,
            identifier=_identifier(number, place) if identifiers else 0,
        )
        if each.filter in asked
        else before[each.filter]
        for place, each in enumerate(wanted)
    ]
    earlier = known.generations if known and identifiers else []
    generations = [Generation(number, filters), *earlier][:GENERATIONS]
    return Subscriptions(0, generations, plan.unsubscribe, copies=known is not None and known.copies)


def _can_go_on(known: Subscriptions, wanted: Sequence[Wanted], *, identifiers: bool) -> bool:
    same = [(each.filter, each.requested) for each in known.current] == [(each.filter, each.qos) for each in wanted]
    refused = any(each.granted is not None and not each.accepted for each in known.current)
    return same and not refused and (identifiers or not any(each.identifier for each in known.current))


def subscribe_packets(
    asked: Iterable[Subscribed], protocol: Protocol, packet_ids: Iterable[int]
) -> list[tuple[SubscribePacket, list[str]]]:
    """SUBSCRIBE packets in order, each with its filters. An identifier counts for a whole packet (§3.8.2.1.2)."""
    groups: list[list[Subscribed]] = []
    for each in asked:
        if groups and not each.identifier and not groups[-1][0].identifier and len(groups[-1]) < PER_PACKET:
            groups[-1].append(each)
        else:
            groups.append([each])
    packets: list[tuple[SubscribePacket, list[str]]] = []
    for packet_id, group in zip(packet_ids, groups, strict=False):
        filters = [_topic_filter(each, protocol) for each in group]
        packet = SubscribePacket(packet_id, filters, subscription_id=group[0].identifier or None)
        packets.append((packet, [each.filter for each in group]))
    return packets


def unsubscribe_packets(filters: Sequence[str], packet_ids: Iterable[int]) -> list[UnsubscribePacket]:
    """UNSUBSCRIBE packets for these filters."""
    starts = range(0, len(filters), PER_PACKET)
    return [
        UnsubscribePacket(packet_id, list(filters[start : start + PER_PACKET]))
        for packet_id, start in zip(packet_ids, starts, strict=False)
    ]


def with_grants(known: Subscriptions, grants: dict[str, int]) -> Subscriptions:
    """The same with what SUBACK said of these filters."""
    newest = known.generations[0]
    filters = [
        msgspec.structs.replace(each, granted=grants[each.filter]) if each.filter in grants else each
        for each in newest.filters
    ]
    generations = [Generation(newest.number, filters), *known.generations[1:]]
    return msgspec.structs.replace(known, generations=generations)


def unavailable(wanted: str, *, shared: bool, wildcards: bool) -> int | None:
    """The reason code for a filter of a kind that CONNACK excluded: asking would cost the connection (§3.2.2.3)."""
    if wanted.startswith("$share/") and not shared:
        return int(SubAckReasonCode.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED)
    if not wildcards and not {"+", "#"}.isdisjoint(wanted.split("/")):
        return int(SubAckReasonCode.WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED)
    return None


def generation_number(connection: int, before: int) -> int:
    """The number of a generation, given how many there were on its connection before. Later ones are greater.

    Connections are counted before they are made, so that no number comes again, whatever was not recorded.
    """
    return connection << _CONNECTION_SHIFT | before


def generation_of(identifier: int) -> int:
    """What the identifiers of a generation have in common."""
    return identifier >> _PLACE_BITS


def encode_subscriptions(subscriptions: Subscriptions) -> str:
    """JSON, as Redis keeps it."""
    return msgspec.json.encode(subscriptions).decode()


def decode_subscriptions(text: str) -> Subscriptions | None:
    """What Redis keeps; None where that is nothing, or nothing that this release can read: then all is asked again."""
    try:
        return msgspec.json.decode(text, type=Subscriptions) if text else None
    except msgspec.DecodeError:
        return None


def _identifier(number: int, place: int) -> int:
    """1 … 268,435,455 (§3.8.2.1.2), unlike those of every generation that is still known; 0 past the last place."""
    if place + 1 >= 1 << _PLACE_BITS:
        return 0
    connection, before = number >> _CONNECTION_SHIFT, number % (1 << _PER_CONNECTION_BITS)
    generation = (connection << _PER_CONNECTION_BITS | before) % (1 << _NUMBER_BITS)
    return generation << _PLACE_BITS | place + 1


def _topic_filter(asked: Subscribed, protocol: Protocol) -> TopicFilter:
    handling = RetainHandling.SEND_IF_SUBSCRIPTION_NOT_EXISTS if protocol is Protocol.V5 else RetainHandling.SEND_ALWAYS
    return TopicFilter(asked.filter, max_qos=_QOS[asked.requested], retain_as_published=False, retain_handling=handling)
