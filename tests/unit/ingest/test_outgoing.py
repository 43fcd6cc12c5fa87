"""What is published of a message of an outbox, on which connection, and what is not."""

from __future__ import annotations

from typing import Any

import pytest

from ingest.codec import ConnAckPacket, Protocol, QoS
from ingest.outgoing import allowed, given_up, is_passing, message_of
from ingest.publisher import Message
from shared.dead import decode_letter
from shared.definitions import Topic
from shared.errors import UserError
from shared.outgoing import OUTGOING_VERSION, Outgoing, encode_outgoing
from tests.support.factories import SESSION, make_trigger

CAUSE = make_trigger(Topic("plant/{site}/temp", 1), Topic("$share/g/all/#", 0))


def outgoing(topic: str = "out", **changes: Any) -> Outgoing:
    """A message with these fields."""
    fields: dict[str, Any] = {"content_type": "text/x", "user_properties": (("a", "1"),), "expires_in_s": 9} | changes
    return Outgoing(OUTGOING_VERSION, "f/b", "f/t", "v", "q1-run", "q1-run.1.1", topic, b"payload", **fields)


def test_mqtt_5_carries_all_properties_a_key_and_where_it_comes_from() -> None:
    """The key lets receivers tell repetitions, the session lets the trigger tell its own."""
    message = message_of(outgoing(), CAUSE, protocol=Protocol.V5, marks_last=True)
    assert list(message.properties) == [("a", "1"), ("idempotency-key", "q1-run.1.1"), ("headrace-cause", SESSION)]
    assert (message.content_type, message.expires_in_s) == ("text/x", 9)


def test_a_key_of_the_codes_own_is_kept() -> None:
    """There is one, not two."""
    own = outgoing(user_properties=(("idempotency-key", "mine"),))
    message = message_of(own, None, protocol=Protocol.V5, marks_last=True)
    assert list(message.properties) == [("idempotency-key", "mine")]


def test_mqtt_3_1_1_carries_topic_and_payload() -> None:
    """Nothing else can be said."""
    message = message_of(outgoing(), CAUSE, protocol=Protocol.V311, marks_last=False)
    assert message == Message("out", b"payload", 1)


@pytest.mark.parametrize("topic", ["plant/7/temp", "all/of/it", "all"])
@pytest.mark.parametrize("protocol, marks_last", [(Protocol.V311, True), (Protocol.V5, False)])
def test_where_no_mark_lasts_nothing_is_published_to_the_triggers_own_topics(
    topic: str, protocol: Protocol, *, marks_last: bool
) -> None:
    """It would run for its own message, for ever."""
    with pytest.raises(UserError, match="cannot tell its own"):
        message_of(outgoing(topic), CAUSE, protocol=protocol, marks_last=marks_last)
    assert message_of(outgoing(topic), CAUSE, protocol=Protocol.V5, marks_last=True).topic == topic


def test_the_brokers_limits_are_kept() -> None:
    """A lower QoS is still published, what is too large or cannot be retained is not."""
    message = Message("out", b"x" * 100, 1, retain=True, properties=[("a", "b" * 50)])
    connack = ConnAckPacket
    assert allowed(message, connack(max_qos=QoS.AT_MOST_ONCE)).qos == 0
    assert allowed(message, connack(max_packet_size=300)) == message
    with pytest.raises(UserError, match="the broker takes 200"):
        allowed(message, connack(max_packet_size=200))
    with pytest.raises(UserError, match="retains nothing"):
        allowed(message, connack(retain_available=False))


def test_only_a_quota_is_likely_to_pass() -> None:
    """All else is a person's to mend."""
    assert is_passing(0x97)
    assert not any(is_passing(code) for code in (0x80, 0x87, 0x90, 0x99, None))


def test_a_message_that_is_given_up_is_kept_whole() -> None:
    """So that it can be sent again."""
    blob = encode_outgoing(outgoing())
    letter = decode_letter(given_up(b"1-1", outgoing(), blob, "why", 17).letter)
    assert (letter.reason, letter.trigger, letter.topic, letter.envelope) == ("unsent", "f/t", "out", blob)
    assert letter.properties is not None
    assert letter.properties.content_type == "text/x"
