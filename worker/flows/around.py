"""What the flow knows that a parallel part belongs to, and what the part takes over of one before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from shared import keys
from shared.errors import InternalError
from shared.flow_records import BEGUN, FROM, PARTS, STARTED, Fanned, read_fanned, read_records
from shared.runs import RunSpec
from worker.flows.parts import fan_before, gone_on

Read = Callable[[Sequence[tuple[str, ...]]], list[Any]]
"""The replies to commands that only read."""


class Around(msgspec.Struct, frozen=True):
    """What the parts of a fan know, and when their flow was started (epoch ms)."""

    fanned: Fanned
    started_ms: int | None


class Surroundings:
    """Reads it; that of the last fan is kept, since its parts come one after the other. It never changes."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._last: tuple[tuple[str, str], Around] | None = None

    def of(self, spec: RunSpec) -> Around:
        """That of a part. Raises InternalError where the flow is gone."""
        parent, fan = spec.parent or "", spec.part.rpartition("/")[0]
        if self._last is not None and self._last[0] == (parent, fan):
            return self._last[1]
        (found,) = self._read([("HMGET", keys.flow(parent), f"{fan}{PARTS}{BEGUN}", STARTED)])
        if found[0] is None:
            raise InternalError(f"the flow {parent} is gone")
        around = Around(read_fanned(found[0]), int(found[1] or 0) or None)
        self._last = (parent, fan), around
        return around

    def taken(self, spec: RunSpec, around: Around) -> Mapping[str, bytes]:
        """What a part that was not begun yet takes over: of the run that was restarted, or of the part that had failed
        and that it is in place of.
        """
        parent = keys.flow(spec.parent or "")
        if around.fanned.taken:
            fan, _, text = spec.part.rpartition("/")
            (blob,) = self._read([("HGET", parent, f"{fan}{FROM}{text}")])
            if blob is not None:
                return read_records(blob)
        if (before := fan_before(spec.part)) is None:
            return {}
        fan, number = before
        (fanned,) = self._read([("HGET", parent, f"{fan}{PARTS}{BEGUN}")])
        run = None if fanned is None else read_fanned(fanned).run_of(number)
        return {} if run is None else gone_on(read_hash(self._read([("HGETALL", keys.flow(run))])[0]))


def read_hash(flat: dict[bytes, bytes] | list[bytes]) -> dict[str, bytes]:
    """The fields of a hash, as the reply has them."""
    pairs = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
    return {name.decode(): value for name, value in pairs}
