"""Settings of a trigger that lose messages are found, with what to do."""

from __future__ import annotations

from typing import Any

import pytest

from shared.definitions import Runnable, Topic, Trigger
from shared.doctor import check_consumers, check_losses
from shared.doctor_triggers import losing
from shared.processes import Process


def a_trigger(qos: Any = 1, **fields: Any) -> Trigger:
    """A trigger with one topic."""
    runnables = {"f/t/s": Runnable("f/t/s", "v", 60)}
    return Trigger("f/t/x", "session", "client", "f/t/broker", "f/t/s", runnables, [Topic("t", qos)], **fields)


@pytest.mark.parametrize(
    "trigger, word",
    [
        (a_trigger(clean_start=True), "v5_config.clean_start"),
        (a_trigger(clean_start=True, client_version="v3"), "v3_config.clean_session"),
        (a_trigger(qos=2, session_expiry_interval=0), "session_expiry_interval"),
    ],
)
def test_what_loses_messages_is_said_with_what_to_write_instead(trigger: Trigger, word: str) -> None:
    """By the key of the file."""
    (check,) = check_losses([trigger])
    assert (check.level, check.name) == ("warn", "session f/t/x")
    assert word in check.fix


@pytest.mark.parametrize(
    "trigger",
    [
        a_trigger(),
        a_trigger(client_version="v3"),
        a_trigger(qos=0, clean_start=True),
        a_trigger(clean_start=True, enabled=False),
    ],
)
def test_what_loses_nothing_that_was_promised_is_not_mentioned(trigger: Trigger) -> None:
    """QoS 0 promises nothing; a disabled trigger takes nothing."""
    assert losing(trigger) is None


def test_a_dispatcher_that_holds_messages_and_is_silent_is_told_of() -> None:
    """One that is busy, or idle with nothing in hand, is not."""
    stalled = Process("dispatch", "a", "silent", 90_000, 3)
    others = [
        Process("dispatch", "b", "alive", 10, 3), Process("dispatch", "c", "silent", 90_000, 0),
        Process("worker", "d", "silent", None, 2),
    ]  # fmt: skip
    (check,) = check_consumers([stalled, *others])
    assert check.found == "holds 3 messages, and was last heard of 1 min 30 s ago"
