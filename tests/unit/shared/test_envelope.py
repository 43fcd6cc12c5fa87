"""The one wire format, and the ids made of it."""

from __future__ import annotations

import msgspec
import pytest

from shared.envelope import (
    ENVELOPE_VERSION,
    Envelope,
    Properties,
    decode_envelope,
    encode_envelope,
    publisher_key,
    run_id,
    split_key,
)
from shared.errors import EnvelopeError, NewerEnvelope
from tests.support.factories import make_envelope

FULL = Properties(
    payload_format_indicator=1,
    message_expiry_interval=60,
    content_type="application/json",
    response_topic="plant/7/ack",
    correlation_data=b"\x00\xff",
    subscription_identifiers=[5, 1],
    topic_alias=3,
    user_properties=[("site", "north"), ("site", "b"), ("", "")],
)


@pytest.mark.parametrize("envelope", [make_envelope(), make_envelope(payload=b"", properties=FULL, qos=2, dup=True)])
def test_an_envelope_survives_the_wire(envelope: Envelope) -> None:
    """Every field, repeated user properties in their order included."""
    assert decode_envelope(encode_envelope(envelope)) == envelope


def test_a_field_appended_by_a_later_minor_change_is_ignored() -> None:
    """Fields are only ever appended; the version stays until a meaning changes."""
    fields = [*msgspec.structs.astuple(make_envelope()), "appended"]

    assert decode_envelope(msgspec.msgpack.encode(fields)) == make_envelope()


@pytest.mark.parametrize("cut", range(len(encode_envelope(make_envelope()))))
def test_an_envelope_that_is_cut_short_is_an_error(cut: int) -> None:
    """At every byte."""
    with pytest.raises(EnvelopeError):
        decode_envelope(encode_envelope(make_envelope())[:cut])


def test_a_newer_version_is_told_from_a_broken_envelope() -> None:
    """Also when its shape is another one: it must stay pending."""
    with pytest.raises(NewerEnvelope):
        decode_envelope(msgspec.msgpack.encode([ENVELOPE_VERSION + 1, {"shape": "new"}]))
    with pytest.raises(EnvelopeError) as raised:
        decode_envelope(msgspec.msgpack.encode([0, "x"]))
    assert not isinstance(raised.value, NewerEnvelope)


def test_keys_and_run_ids_are_made_of_the_same_parts() -> None:
    """The QoS leads, so that a sweep needs nothing else."""
    assert split_key("abcdefgh-2-17") == ("abcdefgh", 2, 17)
    assert run_id(2, "abcdefgh-2-17") == "q2-abcdefgh-2-17"
    assert run_id(0, "abcdefgh-2-17", 1) == "q0-abcdefgh-2-17-1"


@pytest.mark.parametrize(
    "user_properties, expected",
    [
        ([], None),
        ([("idempotency-key", "order 7")], "order 7"),
        ([("specversion", "1.0"), ("source", "/orders"), ("id", "7")], "/orders 7"),
        ([("source", "/orders"), ("id", "7")], None),
        ([("idempotency-key", "")], None),
    ],
)
def test_the_publishers_own_id(user_properties: list[tuple[str, str]], expected: str | None) -> None:
    """A user property, or a CloudEvent in binary mode; nothing is guessed."""
    assert publisher_key(make_envelope(properties=Properties(user_properties=user_properties))) == expected
