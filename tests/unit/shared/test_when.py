"""Points in time as people write them."""

from __future__ import annotations

import pytest

from shared.errors import UserError
from shared.when import parse_span, parse_when

NOW_MS = 1_767_323_045_000


@pytest.mark.parametrize(
    "text, ago_ms",
    [("45s", 45_000), ("30min", 1_800_000), ("30m", 1_800_000), ("2h", 7_200_000), ("1.5 h ago", 5_400_000)],
)
def test_so_long_ago_counts_from_now(text: str, ago_ms: int) -> None:
    """With or without `ago`."""
    assert parse_when(text, NOW_MS * 1000) == (NOW_MS - ago_ms) * 1000


def test_a_time_with_a_zone_is_that_moment() -> None:
    """Z, or a difference from UTC."""
    assert parse_when("2026-01-02T03:04:05Z", 0) == NOW_MS * 1000
    assert parse_when("2026-01-02T04:04:05.250001+01:00", 0) == NOW_MS * 1000 + 250_001


def test_a_day_begins_at_local_midnight() -> None:
    """A time without a zone is one of this machine."""
    assert parse_when("2026-01-03", 0) - parse_when("2026-01-02", 0) == 86_400_000_000


@pytest.mark.parametrize("text", ["", "yesterday", "2x", "2026-13-01", "h"])
def test_what_is_no_time_is_refused_with_what_would_be(text: str) -> None:
    """The hint names the forms."""
    with pytest.raises(UserError) as error:
        parse_when(text, NOW_MS)

    assert "2h" in error.value.hint


@pytest.mark.parametrize(
    "text, ms", [("45s", 45_000), ("30min", 1_800_000), (" 1.5 h ", 5_400_000), ("90d", 7_776_000_000)]
)
def test_a_span_is_told_in_milliseconds(text: str, ms: int) -> None:
    """In the units of times that are so long ago."""
    assert parse_span(text) == ms


@pytest.mark.parametrize("text", ["", "soon", "-1h", "1h ago", "1 year"])
def test_what_is_no_span_is_refused_with_examples(text: str) -> None:
    """A time that is so long ago is none either."""
    with pytest.raises(UserError, match="not a span of time"):
        parse_span(text)
