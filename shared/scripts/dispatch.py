"""The verbs of dispatch: placing what is in the inbox."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from shared import keys
from shared.scripts.call import Arg, Call

Verdict = Literal["run", "suspended", "filtered", "unrouted", "poisoned"]
PUBLISHER_KEY_TTL_S = 24 * 3600


class NewRun(msgspec.Struct, frozen=True):
    """A run to be made: RQ job id, RQ job data, text for RQ's tools, seconds it may take.

    `handled`: an error handler is called when it ends badly.
    """

    id: str
    data: bytes
    description: str
    timeout_s: int
    handled: bool = False


class Placement(msgspec.Struct, frozen=True):
    """What becomes of one inbox entry. `published`: key of the publisher's own id; `letter`: dead letter record.

    `lifetime_ms`: from its admission on, for so long it is of use; then it makes no run. None: for ever.
    """

    entry: bytes
    trigger: str
    verdict: Verdict
    runs: Sequence[NewRun] = ()
    published: str = ""
    letter: bytes = b""
    lifetime_ms: int | None = None


class Placed(msgspec.Struct, frozen=True):
    """`gone`: entries that another dispatcher had already placed."""

    settled: int
    gone: int
    runs: int


def place(
    placements: Sequence[Placement], now_iso: str, now_us: int, dead_max: int, deployment: int | None = None
) -> Call[Placed | None]:
    """Settle inbox entries, in one step. Idempotent: an entry is settled only by the call whose XACK removed it.

    With a `deployment` only while that one is current (0: none was ever made); None: it is not, and nothing was done.
    """
    checked = "" if deployment is None else deployment
    args: list[Arg] = [keys.GROUP, now_iso, now_us, dead_max, PUBLISHER_KEY_TTL_S, keys.QUEUE, checked]
    for item in placements:
        args += (item.entry, item.trigger, item.published, item.verdict, item.letter)
        args += ("" if item.lifetime_ms is None else item.lifetime_ms, len(item.runs))
        for run in item.runs:
            args += (run.id, run.data, run.description, run.timeout_s, "1" if run.handled else "")
    return Call(
        "place",
        [
            keys.INBOX,
            keys.RQ_QUEUE,
            keys.RQ_QUEUES,
            keys.RUNS,
            keys.DEAD,
            keys.DEAD_LETTERS,
            keys.DEPLOYMENT,
            keys.RQ_DEFERRED,
        ],
        args,
        lambda reply: None if reply[0] < 0 else Placed(*reply),
    )


def read_inbox(consumer: str, most: int, most_bytes: int, step: int) -> Call[list[Any]]:
    """Entries that nobody has yet, as XREADGROUP answers; it stops once they hold `most_bytes`.

    After a lost reply they are found again among the consumer's own.
    """
    return Call("read_inbox", [keys.INBOX], [keys.GROUP, consumer, most, most_bytes, step], list)


def retire_consumers(idle_ms: int, stream: str = keys.INBOX, group: str = keys.GROUP) -> Call[int]:
    """Remove idle consumers that hold nothing; how many."""
    return Call("retire_consumers", [stream], [group, idle_ms], int)
