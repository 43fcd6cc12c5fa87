"""What the end of a connection means, and when the next one is tried."""

from __future__ import annotations

import pytest

from ingest.reconnect import Ending, delay_s, ending_of
from ingest.session_events import (
    Closed,
    Connected,
    Malformed,
    ProtocolRefused,
    Purged,
    Refused,
    ServerDisconnect,
    SessionEvent,
    Silent,
    SubscriptionsGranted,
    TakenOver,
)
from shared.config import IngestSettings

SETTINGS = IngestSettings(reconnect_initial_s=1, reconnect_max_s=8, refused_min_s=60, refused_max_s=300)


@pytest.mark.parametrize(
    "event,state",
    [
        (Refused(0x86, "bad user name or password", permanent=True), "refused"),
        (Refused(0x88, "server unavailable", permanent=False), "reconnecting"),
        (ServerDisconnect(0x8B, "server shutting down", permanent=False), "reconnecting"),
        (ServerDisconnect(0x87, "not authorized", permanent=True), "refused"),
        (TakenOver(), "taken over"),
        (Malformed(0x81, "PUBLISH: no", 1, stuck=False), "reconnecting"),
        (Malformed(0x81, "PUBLISH: no", 3, stuck=True), "refused"),
        (Silent("PINGREQ"), "reconnecting"),
        (Closed("the broker closed the connection", accepted=True), "reconnecting"),
        (ProtocolRefused(), "next step"),
        (Purged(), "next step"),
    ],
)
def test_every_end_has_a_state(event: SessionEvent, state: str) -> None:
    """What passes by itself is tried soon, what a person has to mend is shown as such."""
    ending = ending_of(event, falls_back=True)

    assert ending is not None
    assert ending.state == state
    assert ending.reason


def test_a_trigger_that_asks_for_mqtt_5_is_refused_by_an_old_broker() -> None:
    """It does not fall back to a version that it did not ask for."""
    assert ending_of(ProtocolRefused(), falls_back=False) == Ending("refused", "the broker does not speak MQTT 5")


def test_other_events_end_nothing() -> None:
    """They come in the middle of a connection."""
    connected = Connected(True, 60, None, 100, 2, True, True, True, True)  # noqa: FBT003
    assert ending_of(connected, falls_back=True) is None
    assert ending_of(SubscriptionsGranted({"a": 1}), falls_back=True) is None


def test_what_is_likely_to_pass_is_tried_ever_more_rarely() -> None:
    """With full jitter, up to the maximum."""
    ending = Ending("reconnecting", "x")
    assert [delay_s(ending, attempt, SETTINGS, lambda: 0.5) for attempt in (1, 2, 3, 4, 9)] == [0.5, 1, 2, 4, 4]


@pytest.mark.parametrize("state", ["refused", "taken over"])
def test_what_a_person_has_to_mend_is_tried_at_a_slow_steady_pace(state: str) -> None:
    """However often it has failed."""
    ending = Ending(state, "x")  # type: ignore[arg-type]
    assert [delay_s(ending, attempt, SETTINGS, lambda: 0.5) for attempt in (1, 9)] == [180, 180]


def test_a_next_step_is_made_at_once() -> None:
    """Nothing has failed."""
    assert delay_s(Ending("next step", "x"), 9, SETTINGS, lambda: 0.5) == 0
