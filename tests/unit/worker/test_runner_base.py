"""The decisions around a child process that need no process."""

from __future__ import annotations

import signal

import msgspec
import pytest

from shared.envelope import Properties
from shared.errors import ConfigError
from shared.event import mqtt_event
from tests.support.factories import make_envelope
from worker.runners.base import (
    child_environment,
    death_cause,
    looks_out_of_memory,
    run_log,
    signal_name,
)
from worker.runners.process import RawOutput


def test_user_code_sees_an_allow_list_of_the_environment() -> None:
    """And what the settings add; nothing of Headrace's own."""
    ours = {
        "PATH": "/bin",
        "HOME": "/root",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "REDIS_URL": "redis://:secret@host",
        "HEADRACE_TOKEN": "secret",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "PYTHONPATH": "/ours",
    }

    kept = child_environment(ours, {"WM_WORKSPACE": "plant", "TZ": "Europe/Berlin"})

    assert kept == {
        "PATH": "/bin",
        "HOME": "/root",
        "LC_ALL": "C.UTF-8",
        "TZ": "Europe/Berlin",
        "WM_WORKSPACE": "plant",
    }


@pytest.mark.parametrize("name", ["REDIS_URL", "HEADRACE_CONSOLE__TOKEN"])
def test_our_own_variables_cannot_be_handed_over_by_mistake(name: str) -> None:
    """The settings say which one is wrong."""
    with pytest.raises(ConfigError, match=name):
        child_environment({}, {name: "x"})


def test_the_event_is_windmills() -> None:
    """Every key of it but the payload, which the child adds."""
    properties = Properties(
        payload_format_indicator=1,
        content_type="application/json",
        response_topic="plant/7/ack",
        correlation_data=b"\x01\x02\x03",
        subscription_identifiers=[5],
        user_properties=[("site", "north"), ("site", "b")],
    )

    event = mqtt_event(make_envelope(topic="plant/7/temp", packet_id=41, properties=properties))

    assert msgspec.json.decode(msgspec.json.encode(event)) == {
        "kind": "mqtt",
        "trigger_path": "f/demo/hello",
        "topic": "plant/7/temp",
        "retain": False,
        "pkid": 41,
        "qos": 1,
        "v5": {
            "payload_format_indicator": 1,
            "topic_alias": None,
            "response_topic": "plant/7/ack",
            "correlation_data": [1, 2, 3],
            "user_properties": [["site", "north"], ["site", "b"]],
            "subscription_identifiers": [5],
            "content_type": "application/json",
        },
    }
    assert mqtt_event(make_envelope())["v5"] is None
    assert mqtt_event(make_envelope(properties=Properties()))["v5"]["correlation_data"] is None


def test_a_log_is_what_was_captured_and_then_what_went_past_it() -> None:
    """Cut at the limit, with the number of bytes that are missing, wherever they were dropped."""
    assert run_log(b"", b"", 0, 10) == ""
    assert run_log(b"ab\n", b"raw\n", 0, 10) == "ab\nraw\n"
    assert run_log(b"12345678", b"raw", 0, 10) == "12345678ra\n[log truncated: 1 bytes dropped]\n"
    assert run_log(b"12", b"", 5, 10) == "12\n[log truncated: 5 bytes dropped]\n"
    assert run_log("ü".encode(), b"", 0, 1) == "\ufffd\n[log truncated: 1 bytes dropped]\n"


def test_raw_output_keeps_its_start_and_its_end() -> None:
    """The start is for the run's log, the end for the report of a crash."""
    output = RawOutput(10)
    output.add(b"0123456")
    output.add(b"789abc")

    assert output
    assert output.take() == (b"0123456789", 3)
    assert output.take() == (b"", 0)
    assert not output
    assert output.tail == "0123456789abc"

    output.add(b"x" * 10_000 + b"end")
    assert len(output.tail) == 4096
    assert output.tail.endswith("end")


def test_a_death_is_told_by_its_cause() -> None:
    """What we did is not guessed at; what the kernel did is."""
    segv, sigkill = -signal.SIGSEGV, -signal.SIGKILL

    assert (signal_name(segv), signal_name(3), signal_name(-64)) == ("SIGSEGV", None, "SIGRTMAX")
    assert signal_name(-50) == "signal 50"
    assert death_cause(sigkill, killed=True, broken=False, out_of_memory=False) == "was killed"
    assert "socket" in death_cause(sigkill, killed=False, broken=True, out_of_memory=False)
    assert death_cause(segv, killed=False, broken=False, out_of_memory=False) == "was ended by SIGSEGV"
    assert death_cause(3, killed=False, broken=False, out_of_memory=False) == "ended itself with exit status 3"
    assert "out of memory" in death_cause(sigkill, killed=False, broken=False, out_of_memory=True)


@pytest.mark.parametrize(
    "returncode,output,limited,guess",
    [
        (-signal.SIGKILL, "", False, True),
        (-signal.SIGSEGV, "", True, False),
        (-signal.SIGABRT, "terminate called after std::bad_alloc: Cannot allocate memory", True, True),
        (1, "MemoryError\n", True, True),
        (1, "MemoryError\n", False, False),
        (1, "out of memory" + "x" * 5000, True, False),
    ],
)
def test_out_of_memory_is_guessed(returncode: int, output: str, limited: bool, guess: bool) -> None:  # noqa: FBT001
    """From the signal, or from what stands at the end of the output of a limited child."""
    assert looks_out_of_memory(returncode, output, limited=limited) is guess
