"""The span of a message's receipt: it begins with the message, and has ended when Redis has it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ingest.codec import PublishPacket
from shared.tracing.context import TraceContext, of_properties
from shared.tracing.spans import Span, Value, received, record

_NS_PER_MS = 1_000_000


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """A message that has come in: its span, the one above ('' for none), and what the span says of it."""

    context: TraceContext
    parent: str
    topic: str
    qos: int
    size: int
    at_ms: int


def receive(packet: PublishPacket, topic: str, qos: int, now_ms: int) -> Receipt:
    """A message came, with or without a trace of its own."""
    parent = of_properties(packet.user_properties) if packet.user_properties else None
    return Receipt(received(parent), parent.span_id if parent else "", topic, qos, len(packet.payload), now_ms)


def tell(receipts: Sequence[Receipt], trigger: str, session: str, now_ns: int) -> None:
    """They are stored: record their spans."""
    for each in receipts:
        about: dict[str, Value] = {
            "messaging.system": "mqtt",
            "messaging.operation.name": "receive",
            "messaging.operation.type": "receive",
            "messaging.destination.name": each.topic,
            "messaging.message.body.size": each.size,
            "mqtt.qos": each.qos,
            "headrace.trigger": trigger,
            "headrace.session": session,
        }
        began_ns = each.at_ms * _NS_PER_MS
        record(Span(f"receive {trigger}", "consumer", each.context, each.parent, began_ns, now_ns, about))
