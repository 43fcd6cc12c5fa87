"""For how long a message is of use."""

from __future__ import annotations

from typing import Any

import pytest

from dispatch.expiry import lifetime_ms
from shared.envelope import Properties
from tests.support.factories import make_envelope, make_trigger


@pytest.mark.parametrize(
    "interval_s, trigger, wanted_ms",
    [
        (None, {}, None),
        (0, {}, 1000),
        (30, {}, 31_000),
        (30, {"expired": "run"}, None),
        (30, {"expired": "run", "max_age_s": 5}, 5000),
        (None, {"max_age_s": 60}, 60_000),
        (30, {"max_age_s": 60}, 31_000),
        (90, {"max_age_s": 60}, 60_000),
    ],
)
def test_what_the_publisher_and_the_trigger_say_both_count(
    interval_s: int | None, trigger: dict[str, Any], wanted_ms: int | None
) -> None:
    """The shorter one wins; what is left of a second by the broker's rounding is never taken from a message."""
    message = make_envelope(properties=Properties(message_expiry_interval=interval_s))

    assert lifetime_ms(make_trigger(**trigger), message) == wanted_ms


def test_a_message_of_mqtt_3_expires_only_by_its_trigger() -> None:
    """It has no properties."""
    assert lifetime_ms(make_trigger(), make_envelope()) is None
    assert lifetime_ms(make_trigger(max_age_s=1), make_envelope()) == 1000
