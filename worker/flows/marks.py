"""What a flow tells of itself on its way: recorded with the next step, for people; nothing depends on it."""

from __future__ import annotations

from typing import Any, Final, Protocol

import msgspec

from shared import flow_records
from shared.flow_records import ENTERED, LEFT
from worker.flows.effects import Done, Entered, Failed, Left, Mark
from worker.flows.records import Records

ITEMS_BYTES_MAX: Final = 4096
"""Items of a loop are kept beside it up to this size: they may be as large as the flow's arguments."""
_encode = msgspec.json.Encoder().encode


class Watch(Protocol):
    """Knows what time it is, and what must not be kept."""

    def now_ms(self) -> int:
        """Epoch milliseconds."""

    def without_secrets(self, inputs: Any) -> tuple[Any, bool]:
        """A value as it may be kept, and whether there was a secret in it."""


def mark(effect: Mark, records: Records, watch: Watch) -> Done:
    """Note it, unless it was noted before a crash, or nothing more may be. A flow never fails by it: what cannot be
    written as JSON is left out.
    """
    name = f"{effect.key}{ENTERED if isinstance(effect, Entered) else LEFT}"
    if records.is_full or records.raw(name):
        return Done()
    now = watch.now_ms()
    try:
        blob = _entered(effect, now, watch) if isinstance(effect, Entered) else _left(effect, now, watch)
    except (ValueError, OverflowError, RecursionError, TypeError):
        blob = flow_records.encode(flow_records.Left(now))
    records.put(name, blob)
    return Done()


def _entered(effect: Entered, now: int, watch: Watch) -> bytes:
    inputs = watch.without_secrets(effect.inputs)[0] if effect.inputs else None
    items = effect.items
    count = None if items is None else len(items)
    if items is not None:
        items = watch.without_secrets(items)[0] if len(items) * 2 < ITEMS_BYTES_MAX and _is_small(items) else None
    return flow_records.encode(flow_records.Entered(now, inputs, items, count))


def _is_small(items: list[Any]) -> bool:
    return len(_encode(items)) <= ITEMS_BYTES_MAX


def _left(effect: Left, now: int, watch: Watch) -> bytes:
    answer = effect.answer
    if isinstance(answer, Failed):
        return flow_records.encode(flow_records.Left(now, ok=False, error=answer.error, how=effect.how))
    stands = bool(effect.of) or effect.parts is not None
    result = None if stands else watch.without_secrets(answer.result)[0]
    record = flow_records.Left(now, result=result, of=effect.of, parts=effect.parts, how=effect.how)
    return flow_records.encode(record)
