"""The course of things: totals, noted every few seconds by one process, of which rates are made for charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

import msgspec

from shared import keys
from shared.scripts.call import Arg
from shared.status import Status

EVERY_S: Final = 5
KEPT: Final = 24 * 3600 // EVERY_S
LEASE_S: Final = 3 * EVERY_S
POINTS_MAX: Final = 720
_FAILED: Final = ("failed", "lost", "interrupted")


class Sample(msgspec.Struct, frozen=True):
    """Totals at a moment (`at`, epoch ms). The first five only grow; the others are sizes.

    `failed` counts runs that failed, were lost or interrupted. `dead` counts dead letters that are kept.
    `oldest_ms` is the age of the oldest message or run that waits; 0 where nothing does.
    """

    at: int
    received: int
    admitted: int
    runs: int
    succeeded: int
    failed: int
    dead: int
    inbox: int
    queued: int
    running: int
    oldest_ms: int


class Point(msgspec.Struct, frozen=True):
    """What a chart shows for a span of time that ends at `at` (epoch ms): counts per second, and sizes at its end."""

    at: int
    messages: float
    runs: float
    succeeded: float
    failures: float
    dead: float
    inbox: int
    queued: int
    running: int
    oldest_ms: int


def sample_of(status: Status, now_ms: int) -> Sample:
    """The totals of a status."""
    total = status.counters.total
    return Sample(
        now_ms,
        received=total["received"],
        admitted=total["admitted"],
        runs=total["runs"],
        succeeded=total["succeeded"],
        failed=sum(total[cell] for cell in _FAILED),
        dead=status.dead,
        inbox=status.inbox_length,
        queued=status.queue_length,
        running=status.running,
        oldest_ms=status.oldest_unprocessed_age_ms or 0,
    )


def lease_command(holder: str) -> tuple[Arg, ...]:
    """Asks to be the one that takes samples; answered with nothing where another one is."""
    return ("SET", keys.SAMPLER, holder, "NX", "EX", LEASE_S)


def add_commands(sample: Sample) -> list[tuple[Arg, ...]]:
    """Note a sample, and stay the one that takes them."""
    entry = ("XADD", keys.SAMPLES, "MAXLEN", "~", KEPT, "*", "e", msgspec.msgpack.encode(sample))
    return [entry, ("EXPIRE", keys.SAMPLER, LEASE_S)]


def samples_command(since_ms: int) -> tuple[Arg, ...]:
    """Fetches samples from this time on; read the answer with `read_samples`."""
    return ("XRANGE", keys.SAMPLES, max(0, since_ms), "+")


def read_samples(reply: Sequence[tuple[bytes, Any]]) -> list[Sample]:
    """The answer to `samples_command`, without those that another release has written."""
    found: list[Sample] = []
    for _, fields in reply:
        flat = fields if isinstance(fields, dict) else dict(zip(fields[::2], fields[1::2], strict=True))
        try:
            found.append(msgspec.msgpack.decode(flat.get(b"e", b""), type=Sample))
        except msgspec.DecodeError:
            continue
    return found


def points_of(samples: Sequence[Sample], most: int = POINTS_MAX) -> list[Point]:
    """Points for a chart, no more than `most`: neighbouring samples are put together. Pure.

    Where totals have fallen, because Redis was emptied, the rate is 0; a gap is one long span.
    """
    step = max(1, -(-(len(samples) - 1) // most)) if len(samples) > 1 else 1
    chosen = list(samples[::-1][::step])[::-1]
    return [_point(before, after) for before, after in pairwise(chosen)]


def _point(before: Sample, after: Sample) -> Point:
    seconds = max(0.001, (after.at - before.at) / 1000)

    def rate(name: str) -> float:
        grown: int = getattr(after, name) - getattr(before, name)
        return round(max(0, grown) / seconds, 3)

    return Point(
        after.at, rate("received"), rate("runs"), rate("succeeded"), rate("failed"), rate("dead"),
        after.inbox, after.queued, after.running, after.oldest_ms,
    )  # fmt: skip


def changed_cells(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """The cells that are not as they were."""
    return {cell: count for cell, count in after.items() if before.get(cell) != count}
