"""Time as it is written: RQ's UTC texts and our epoch milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

NS_PER_S = 1_000_000_000


def iso_utc(now_ns: int) -> str:
    """Epoch nanoseconds as RQ writes a time: `2026-01-02T03:04:05.000006Z`."""
    seconds, ns = divmod(now_ns, NS_PER_S)
    return f"{_whole_seconds(seconds)}.{ns // 1000:06d}Z"


@lru_cache(maxsize=2)
def _whole_seconds(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def parse_iso_ms(text: str) -> int:
    """The reverse, to epoch milliseconds; ValueError if it is not such a text."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)
