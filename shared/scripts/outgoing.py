"""The verbs of outboxes: who sends, what was sent; and of tasks that one process at a time may do."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from shared import keys
from shared.scripts.call import Arg, Call

UNKNOWN_TRIGGER = "?"
"""Counts what no trigger is behind."""


class Settled(msgspec.Struct, frozen=True):
    """A message that leaves its outbox: published, or, with a letter, given up. `trigger` '' : none is behind it."""

    entry: bytes
    trigger: str
    letter_id: str = ""
    letter: bytes = b""


def role_hold(name: str, holder: str, ttl_ms: int) -> Call[bool]:
    """Take a task, or keep it for another `ttl_ms`; whether it is this holder's. May be repeated."""
    return Call("role_hold", [keys.role(name)], [holder, ttl_ms], lambda reply: reply == 1)


def role_release(name: str, holder: str) -> Call[bool]:
    """Give a task back; False if it was not ours any more."""
    return Call("role_release", [keys.role(name)], [holder], lambda reply: reply == 1)


def read_outbox(broker: str, after: bytes, most: int, most_bytes: int) -> Call[list[tuple[bytes, bytes]]]:
    """(entry, message) of what stands behind an entry, in order; no more once it holds `most_bytes`."""

    def decode(flat: list[bytes]) -> list[tuple[bytes, bytes]]:
        return list(zip(flat[::2], flat[1::2], strict=True))

    return Call("read_outbox", [keys.outbox(broker)], [after, most, most_bytes], decode)


def outbox_settle(broker: str, now_ms: int, dead_max: int, messages: Sequence[Settled]) -> Call[int]:
    """Take messages out of the outbox of a broker; how many were still there. May be repeated."""
    args: list[Arg] = [now_ms, dead_max]
    for item in messages:
        args += (item.entry, item.trigger or UNKNOWN_TRIGGER, item.letter_id, item.letter)
    return Call("outbox_settle", [keys.outbox(broker), keys.DEAD, keys.DEAD_LETTERS], args, int)


def tell_dead(dead_id: str, broker: str = "", trigger: str = "", message: bytes = b"") -> Call[bool]:
    """A dead letter is told of by this message, or (`broker` empty) not at all; whether it still had to be.

    May be repeated.
    """
    args: list[Arg] = [dead_id, broker, trigger or UNKNOWN_TRIGGER, message]
    return Call("tell_dead", [keys.DEAD_UNTOLD], args, lambda reply: reply == 1)


def resend(dead_id: str, broker: str, trigger: str, message: bytes) -> Call[bool]:
    """Put a message among the dead letters back into its outbox; twice puts it there once."""
    names = [keys.outbox(broker), keys.OUTBOXES, keys.DEAD, keys.DEAD_LETTERS]
    return Call("resend", names, [dead_id, broker, trigger or UNKNOWN_TRIGGER, message], lambda reply: reply == 1)
