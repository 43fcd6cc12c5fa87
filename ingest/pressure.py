"""When to stop reading from a broker. TCP then holds the broker back, and nothing unstored piles up here."""

from __future__ import annotations

import enum

import msgspec


class Pressure(enum.Enum):
    """What reading waits for."""

    STORE = "messages wait for Redis"
    INBOX = "messages wait for dispatch"


class Limits(msgspec.Struct, frozen=True):
    """Where reading pauses: bytes received and not yet stored, entries in the inbox."""

    buffered_bytes: int
    inbox: int


def pressure(now: Pressure | None, buffered_bytes: int, inbox: int, limits: Limits) -> Pressure | None:
    """What reading is to wait for from here on, given what it waits for now; None: read.

    Reading goes on at half of the bytes or nine tenths of the inbox, so that it does not flutter around a limit. While
    it is paused no answer of Redis renews the length of the inbox: ask for it from time to time.
    """
    most_bytes, most_entries = limits.buffered_bytes, limits.inbox
    if now is Pressure.STORE:
        most_bytes //= 2
    if now is Pressure.INBOX:
        most_entries = most_entries * 9 // 10
    if buffered_bytes > most_bytes:
        return Pressure.STORE
    return Pressure.INBOX if inbox > most_entries else None
