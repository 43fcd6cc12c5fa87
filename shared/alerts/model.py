"""What is found, what is remembered of it, and what people are told."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from shared.workspace.alerts import AlertKind, Target

Status = Literal["active", "still", "resolved", "test"]
SUBJECTS_SHOWN: Final = 20
NOTICES_KEPT: Final = 200


class Finding(msgspec.Struct, frozen=True):
    """Something that is wrong now. `level`: how bad, for what may be getting worse or better; else 0."""

    kind: AlertKind
    subject: str
    what: str
    fix: str
    level: int = 0

    @property
    def key(self) -> str:
        """Under which it is remembered."""
        return f"{self.kind}:{self.subject}"


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is remembered of a finding. Times are epoch ms by Redis' clock; 0: never.

    `clear_ms`: since when it has not been found. `told_ms`: when somebody was last told of it, `open`: told and not
    over. `level`: as last found; of dead letters, how many there had ever been.
    """

    kind: AlertKind
    subject: str
    what: str
    fix: str
    since_ms: int
    told_ms: int = 0
    clear_ms: int = 0
    level: int = 0
    open: bool = False

    @property
    def is_active(self) -> bool:
        """Whether it is wrong now, or people were told so and not yet that it is over. Dead letters are no state."""
        return self.kind != "dead_letters" and (self.open or not self.clear_ms)


class Notice(msgspec.Struct, frozen=True):
    """What people are told, once for all that is alike. `id` is the same however often it is delivered.

    `waits`: who has not got it yet. `error`: why not, after so many `attempts`; it is tried again at `next_ms`. `run`
    is that of the script.
    """

    id: str
    kind: str
    status: Status
    subjects: list[str]
    what: str
    fix: str
    since_ms: int
    at_ms: int
    waits: list[Target] = []
    attempts: int = 0
    next_ms: int = 0
    error: str | None = None
    run: str | None = None


Records = dict[str, Record]


def encode(value: Record | Notice) -> bytes:
    """As it is kept in Redis."""
    return msgspec.json.encode(value)


def decode_record(blob: bytes) -> Record | None:
    """None: another release has written it."""
    try:
        return msgspec.json.decode(blob, type=Record)
    except msgspec.DecodeError:
        return None


def decode_notice(blob: bytes) -> Notice | None:
    """None: another release has written it."""
    try:
        return msgspec.json.decode(blob, type=Notice)
    except msgspec.DecodeError:
        return None


def named(subjects: list[str]) -> str:
    """Some names, and how many more there are."""
    more = len(subjects) - SUBJECTS_SHOWN
    return ", ".join(subjects[:SUBJECTS_SHOWN]) + (f" and {more} more" if more > 0 else "")
