"""The span of a message's placement: from the inbox to the queue."""

from __future__ import annotations

from collections.abc import Sequence

from dispatch.placing import Entry
from shared.envelope import decode_envelope
from shared.errors import EnvelopeError
from shared.scripts.dispatch import Placement
from shared.tracing.runs import message_context, placing_span_of
from shared.tracing.spans import Span, Value, record

_NS_PER_MS = 1_000_000


def tell_placed(entries: Sequence[Entry], placements: Sequence[Placement], now_ns: int) -> None:
    """They are placed: record their spans. The runs' own are below these, under ids that follow from the message's."""
    for entry, placement in zip(entries, placements, strict=False):
        try:
            context = message_context(decode_envelope(entry.envelope))
        except EnvelopeError:
            continue
        if context is None or not context.is_sampled:
            continue
        about: dict[str, Value] = {
            "headrace.trigger": placement.trigger,
            "headrace.verdict": placement.verdict,
            "headrace.runs": len(placement.runs),
            "headrace.idempotency_key": entry.key.decode("ascii", "replace"),
        }
        span = context.below(placing_span_of(entry.key.decode("ascii", "replace")))
        stored_ns = int(entry.id.partition(b"-")[0]) * _NS_PER_MS
        record(Span(f"place {placement.trigger}", "internal", span, context.span_id, stored_ns, now_ns, about))
