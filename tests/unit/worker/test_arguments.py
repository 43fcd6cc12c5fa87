"""What a script is given for a message."""

from __future__ import annotations

from shared.envelope import Envelope, Properties
from shared.runs import RunSpec
from tests.support.factories import make_envelope
from worker.arguments import message_call
from worker.runners.base import RunCall

PROPERTIES = Properties(
    payload_format_indicator=1,
    content_type="application/json",
    response_topic="plant/7/ack",
    correlation_data=b"\x01\x02\x03",
    subscription_identifiers=[5],
    user_properties=[("site", "north"), ("site", "b")],
)


def called_for(message: Envelope, *, has_preprocessor: bool) -> RunCall:
    """The call for a run of this message."""
    spec = RunSpec("f/iot/temp", "f/iot/on_temp", "v1", "abcdefgh-1-17", {"site": "7"}, b"")
    return message_call("q1-abcdefgh-1-17", 2, spec, message, "windmill", {}, with_event=has_preprocessor)


def test_a_script_without_preprocessor_gets_the_payload_as_it_was_received() -> None:
    """Windmill's plain arguments; the child makes of the bytes what the signature asks for."""
    call = called_for(make_envelope(payload=b"\x00\xff"), has_preprocessor=False)

    assert (call.run_id, call.payload, call.event) == ("q1-abcdefgh-1-17", b"\x00\xff", None)


def test_a_preprocessor_gets_every_field_of_windmills_event() -> None:
    """Form v2; the payload joins it in the child."""
    message = make_envelope(trigger="f/iot/temp", topic="plant/7/temp", packet_id=41, properties=PROPERTIES)
    call = called_for(message, has_preprocessor=True)

    assert call.event == {
        "kind": "mqtt",
        "trigger_path": "f/iot/temp",
        "topic": "plant/7/temp",
        "retain": False,
        "pkid": 41,
        "qos": 1,
        "v5": {
            "payload_format_indicator": 1,
            "topic_alias": None,
            "response_topic": "plant/7/ack",
            "correlation_data": [1, 2, 3],
            "user_properties": [("site", "north"), ("site", "b")],
            "subscription_identifiers": [5],
            "content_type": "application/json",
        },
    }


def test_a_message_of_mqtt_3_has_no_v5_part() -> None:
    """As Windmill's: null for a v3 client."""
    call = called_for(make_envelope(properties=None, protocol=4), has_preprocessor=True)

    assert call.event is not None
    assert call.event["v5"] is None


def test_the_context_tells_the_script_which_run_it_is() -> None:
    """What `headrace.run` shows; the key is the same at every attempt."""
    message = make_envelope(topic="plant/7/temp", qos=2, received_at=1_767_323_045_678)

    assert called_for(message, has_preprocessor=False).context == {
        "idempotency_key": "abcdefgh-1-17",
        "attempt": 2,
        "trigger": "f/iot/temp",
        "topic": "plant/7/temp",
        "qos": 2,
        "captures": {"site": "7"},
        "received_at": 1_767_323_045_678,
    }
