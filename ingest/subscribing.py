"""The exchange that makes a broker's subscriptions what the trigger wants: SUBSCRIBE, then UNSUBSCRIBE."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

from ingest.codec import ConnAckPacket, MalformedPacket, Packet, Protocol, Reason, SubAckPacket
from ingest.codec_framing import PacketType
from ingest.subscriptions import (
    Generation,
    Plan,
    Subscriptions,
    generation_number,
    next_subscriptions,
    plan_subscriptions,
    subscribe_packets,
    unavailable,
    unsubscribe_packets,
    wanted_filters,
    with_grants,
)
from shared.definitions import Trigger
from shared.topics import parse_filter

_SUBACK = PacketType.SUBACK << 4


class Subscribing:
    """The subscriptions of one connection. Answers to packets that it did not send are ignored."""

    def __init__(self, protocol: Protocol, connection: int, connack: ConnAckPacket) -> None:
        self.subscriptions = Subscriptions(0, [Generation(0, [])])
        """What is known: granted, asked for, and of earlier generations."""
        self._protocol = protocol
        self._connection = connection
        self._shared = connack.shared_subscription_available
        self._wildcards = connack.wildcard_subscription_available
        self._identifiers = protocol is Protocol.V5 and connack.subscription_id_available
        self._packet_ids: Iterator[int] = cycle(range(1, 65536))
        self._generations = 0
        self._subscribe_asked: dict[int, list[str]] = {}
        self._unsubscribe: list[str] = []
        self._unsubscribe_asked: set[int] = set()

    @property
    def agreed(self) -> bool:
        """Everything that was asked has been answered."""
        return not self._subscribe_asked and not self._unsubscribe_asked

    def ask(self, trigger: Trigger, known: Subscriptions | None, *, certain: bool) -> list[Packet]:
        """What to send, once `subscriptions` is recorded; nothing, if `known` is already what the trigger wants.

        `known` None: the session is new. Not `certain`: the record may be of a session that the broker lost.
        """
        wanted = wanted_filters(trigger)
        plan = plan_subscriptions(wanted, known, self._protocol, certain=certain)
        if known is not None and not plan.subscribe and not plan.unsubscribe:
            self.subscriptions = known
            return []
        asked = {each.filter for each in plan.subscribe}
        number = generation_number(self._connection, self._generations)
        self._generations += 1
        subscriptions = next_subscriptions(wanted, plan, known, number, identifiers=self._identifiers)
        self._unsubscribe = plan.unsubscribe
        excluded = {each: code for each in asked if (code := self._excluded(each)) is not None}
        self.subscriptions = with_grants(subscriptions, excluded)
        to_send = [each for each in self.subscriptions.current if each.filter in asked and each.filter not in excluded]
        packets = subscribe_packets(to_send, self._protocol, self._packet_ids)
        self._subscribe_asked = {packet.packet_id: filters for packet, filters in packets}
        return [packet for packet, _ in packets] or self._go_on()

    def leave(self, trigger: Trigger, known: Subscriptions) -> list[Packet]:
        """What to send so that nothing is subscribed any more, whatever is: the record need not be complete."""
        asked = [
            *(each.filter for each in known.current),
            *known.leaving,
            *(each.filter for each in wanted_filters(trigger)),
        ]
        plan = Plan([], list(dict.fromkeys(asked)))
        number = generation_number(self._connection, self._generations)
        self._generations += 1
        self.subscriptions = next_subscriptions([], plan, known, number, identifiers=self._identifiers)
        self._unsubscribe = plan.unsubscribe
        return self._go_on()

    def answered(self, packet: SubAckPacket) -> list[Packet]:
        """SUBACK came. What to send next; raises MalformedPacket if it does not fit its SUBSCRIBE."""
        if (filters := self._subscribe_asked.get(packet.packet_id)) is None:
            return []
        codes = [int(code) for code in packet.reason_codes]
        if len(codes) != len(filters):
            detail = f"{len(codes)} reason codes for {len(filters)} filters"
            raise MalformedPacket(Reason.PROTOCOL_ERROR, _SUBACK, detail)
        del self._subscribe_asked[packet.packet_id]
        self.subscriptions = with_grants(self.subscriptions, dict(zip(filters, codes, strict=True)))
        return self._go_on()

    def unsubscribed(self, packet_id: int) -> None:
        """UNSUBACK came. A refusal changes nothing: what still arrives counts."""
        self._unsubscribe_asked.discard(packet_id)

    def granted(self, trigger: Trigger) -> dict[str, int]:
        """Granted QoS, or the reason code of a refusal, by topic as the trigger names it."""
        by_filter = {each.filter: each.granted for each in self.subscriptions.current}
        answers = {topic.topic: by_filter.get(parse_filter(topic.topic).subscription) for topic in trigger.topics}
        return {topic: granted for topic, granted in answers.items() if granted is not None}

    def _go_on(self) -> list[Packet]:
        """Once all is granted, what is not wanted any more can go: no message falls between."""
        if self._subscribe_asked:
            return []
        packets = unsubscribe_packets(self._unsubscribe, self._packet_ids)
        self._unsubscribe = []
        self._unsubscribe_asked = {packet.packet_id for packet in packets}
        return list(packets)

    def _excluded(self, text: str) -> int | None:
        return unavailable(text, shared=self._shared, wildcards=self._wildcards)
