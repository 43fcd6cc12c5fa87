"""Points in time as people write them. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from shared.errors import UserError

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_A_MICROSECOND: Final = timedelta(microseconds=1)
_MS: Final = {"s": 1000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_AGO = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d|w)(?:\s+ago)?")
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d|w)")


def parse_when(text: str, now_us: int) -> int:
    """Epoch microseconds of `2h`, `30min`, `7d` (so long ago) or of an ISO 8601 time, which is local where it names no
    zone. UserError says what is known.
    """
    if found := _AGO.fullmatch(text.strip()):
        return now_us - round(float(found[1]) * _MS[found[2]]) * 1000
    try:
        return epoch_us(datetime.fromisoformat(text.strip()))
    except (ValueError, OverflowError, OSError) as error:
        hint = "so long ago: 45s, 30min, 2h, 7d; or ISO 8601: 2026-01-31, 2026-01-31T08:00, 2026-01-31T08:00:00Z"
        raise UserError(f"{text!r} is not a time", hint=hint, text=text) from error


def epoch_us(at: datetime) -> int:
    """Epoch microseconds, exactly; a time without zone is local."""
    return (at.astimezone(UTC) - _EPOCH) // _A_MICROSECOND


def parse_span(text: str) -> int:
    """Milliseconds of `45s`, `30min`, `2h`, `90d`. UserError says what is known."""
    if (found := _SPAN.fullmatch(text.strip())) is None:
        raise UserError(f"{text!r} is not a span of time", hint="for example 30min, 12h, 90d", text=text)
    return round(float(found[1]) * _MS[found[2]])
