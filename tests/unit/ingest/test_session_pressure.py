"""When reading stops and when it goes on."""

from __future__ import annotations

import pytest

from ingest.pressure import Limits, Pressure, pressure

LIMITS = Limits(buffered_bytes=1000, inbox=100)


@pytest.mark.parametrize(
    "now, buffered, inbox, expected",
    [
        (None, 1000, 100, None),
        (None, 1001, 0, Pressure.STORE),
        (None, 0, 101, Pressure.INBOX),
        (None, 1001, 101, Pressure.STORE),
        (Pressure.STORE, 501, 0, Pressure.STORE),
        (Pressure.STORE, 500, 0, None),
        (Pressure.STORE, 500, 101, Pressure.INBOX),
        (Pressure.INBOX, 0, 91, Pressure.INBOX),
        (Pressure.INBOX, 0, 90, None),
        (Pressure.INBOX, 1001, 90, Pressure.STORE),
    ],
)
def test_reading_stops_at_a_limit_and_goes_on_well_below_it(
    now: Pressure | None, buffered: int, inbox: int, expected: Pressure | None
) -> None:
    """So that it does not flutter."""
    assert pressure(now, buffered, inbox, LIMITS) is expected
