"""The verbs of runs that wait because their trigger was suspended: release them, or discard them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from shared import keys
from shared.scripts.call import Arg, Call


class Release(msgspec.Struct, frozen=True):
    """A run to be queued; with `data` as its job's it is one of another version, which may take `timeout_s`."""

    id: str
    data: bytes = b""
    timeout_s: int = 0


def resume(trigger: str, runs: Sequence[Release], now_iso: str) -> Call[list[bool]]:
    """Queue suspended runs of this trigger, in this order; for each whether it was waiting. Twice queues once."""
    args: list[Arg] = [now_iso]
    for run in runs:
        args += (run.id, run.data, run.timeout_s)
    return Call("resume", [keys.suspended(trigger), keys.RQ_DEFERRED, keys.RQ_QUEUE, keys.RQ_QUEUES], args, _each_done)


def discard(trigger: str, ids: Sequence[str], now_iso: str, now_ms: int, who: str, reason: str) -> Call[list[bool]]:
    """Cancel suspended runs of this trigger; for each whether it was waiting. May be repeated."""
    names = [keys.suspended(trigger), keys.RQ_DEFERRED, keys.RQ_CANCELED]
    return Call("discard", names, [now_iso, now_ms, who, reason, *ids], _each_done)


def _each_done(reply: list[Any]) -> list[bool]:
    return [each == 1 for each in reply]
