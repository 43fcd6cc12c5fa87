"""What a broker cannot do of what a trigger asks for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.definitions import Topic
from shared.doctor_brokers import Limits, check_session_limits, short_of
from shared.scripts.operate import SessionSnapshot
from tests.support.factories import make_trigger

WEEK_S = 7 * 24 * 3600


@pytest.mark.parametrize(
    "limits, topics, level, said",
    [
        ({"max_qos": 1}, [Topic("a", 2)], "warn", "its maximum QoS is 1, and a topic asks for 2"),
        ({"wildcards_available": False}, [Topic("a/+", 1)], "fail", "it allows no wildcards"),
        ({"wildcards_available": False}, [Topic("a/{site}", 1)], "fail", "it allows no wildcards"),
        ({"shared_available": False}, [Topic("$share/g/a", 1)], "fail", "it has no shared subscriptions"),
        ({"retained_available": False}, [Topic("a", 1)], "warn", "it keeps no retained messages"),
        (
            {"identifiers_available": False},
            [Topic("a/+", 1), Topic("a/b", 1)],
            "warn",
            "it has no subscription identifiers, and two filters match 'a/b'",
        ),
        (
            {"session_expiry_s": 3600},
            [Topic("a", 1)],
            "warn",
            "it keeps the session for 1 h 0 min, and 7 d 0 h was asked for",
        ),
    ],
)
def test_what_a_trigger_asks_for_and_does_not_get_is_named(
    limits: dict[str, Any], topics: list[Topic], level: str, said: str
) -> None:
    """Each with what to do about it."""
    (found,) = short_of(make_trigger(*topics), Limits(**limits))

    assert (found.level, found.what) == (level, said)
    assert found.fix


@pytest.mark.parametrize(
    "limits, topic",
    [
        ({"max_qos": 1}, Topic("a", 1)),
        ({"wildcards_available": False}, Topic("a", 1)),
        ({"shared_available": False}, Topic("a/#", 1)),
        ({"retained_available": False}, Topic("a", 1, retained="skip")),
        ({"identifiers_available": False}, Topic("a/#", 1)),
        ({"session_expiry_s": 0}, Topic("a", 0)),
        ({"session_expiry_s": WEEK_S}, Topic("a", 2)),
        ({"session_expiry_s": 0xFFFFFFFF}, Topic("a", 2)),
        ({"receive_maximum": 1, "max_packet_size": 100}, Topic("a", 2)),
    ],
)
def test_a_limit_that_the_trigger_does_not_touch_is_no_shortfall(limits: dict[str, Any], topic: Topic) -> None:
    """Nobody is to mend what he does not need."""
    assert list(short_of(make_trigger(topic), Limits(**limits))) == []


def test_a_broker_of_3_1_1_tells_only_what_it_granted() -> None:
    """In SUBACK."""
    granted = {"generations": [{"filters": [{"filter": "a", "granted": 1}]}]}
    fields = {"state": "connected", "protocol": "4", "subscriptions": json.dumps(granted)}
    found = check_session_limits(make_trigger(Topic("a", 2)), SessionSnapshot(fields, "1 holder", 0))

    assert found.told == "MQTT 3.1.1, which tells no limits"
    assert [each.what for each in found.shortfalls] == ["granted less: a (QoS 1 instead of 2)"]
