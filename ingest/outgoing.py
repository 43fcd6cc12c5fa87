"""A message of an outbox, as it is published on a connection, or why it cannot be. Pure."""

from __future__ import annotations

import hashlib

from ingest.codec import ConnAckPacket, Protocol
from ingest.publisher import Message
from shared.dead import HEAD_BYTES, LETTER_VERSION, DeadLetter, encode_letter
from shared.definitions import Trigger
from shared.envelope import Properties
from shared.errors import UserError
from shared.outgoing import CAUSE, KEY, Outgoing
from shared.scripts.outgoing import Settled
from shared.topics import matches, parse_filter

_PASSING = frozenset({0x97})  # quota exceeded: MQTT 5 §3.4.2.1
_OVERHEAD = 64
"""Bytes of a PUBLISH beside topic, payload and texts of properties, at the most."""


def message_of(outgoing: Outgoing, cause: Trigger | None, *, protocol: Protocol, marks_last: bool) -> Message:
    """What is published. `cause` is the trigger behind the run; `marks_last`: its session sees user properties.

    Raises UserError where the trigger would get its own message back and could not know it.
    """
    speaks_v5 = protocol is Protocol.V5
    if cause is not None and not (speaks_v5 and marks_last) and comes_back(outgoing.topic, cause):
        raise UserError(
            f"the trigger {cause.path} has subscribed to {outgoing.topic}, and MQTT 3.1.1 cannot tell its own messages",
            hint="publish to another topic, or have broker and trigger speak MQTT 5",
        )
    if not speaks_v5:
        return Message(outgoing.topic, outgoing.payload, outgoing.qos, outgoing.retain)
    properties = list(outgoing.user_properties)
    if not any(name == KEY for name, _ in properties):
        properties.append((KEY, outgoing.key))
    if cause is not None:
        properties.append((CAUSE, cause.session))
    return Message(
        outgoing.topic, outgoing.payload, outgoing.qos, outgoing.retain, properties, outgoing.content_type,
        outgoing.response_topic, outgoing.correlation_data, outgoing.expires_in_s,
    )  # fmt: skip


def allowed(message: Message, connack: ConnAckPacket) -> Message:
    """The message within the broker's limits. Raises UserError where it cannot be (MQTT 5 §3.2.2.3)."""
    size = len(message.payload) + len(message.topic.encode()) + len(message.correlation_data or b"") + _OVERHEAD
    size += sum(len(name.encode()) + len(value.encode()) + 5 for name, value in message.properties)
    if connack.max_packet_size is not None and size > connack.max_packet_size:
        raise UserError(f"it has about {size} bytes, and the broker takes {connack.max_packet_size}")
    if message.retain and not connack.retain_available:
        raise UserError("it is to be retained, and the broker retains nothing")
    if message.qos > int(connack.max_qos):
        return Message(
            message.topic, message.payload, int(connack.max_qos), message.retain, message.properties,
            message.content_type, message.response_topic, message.correlation_data, message.expires_in_s,
        )  # fmt: skip
    return message


def comes_back(topic: str, trigger: Trigger) -> bool:
    """Whether the trigger has subscribed to this topic."""
    return any(matches(parse_filter(each.topic), topic) for each in trigger.topics)


def is_passing(code: object) -> bool:
    """Whether a refusal with this reason code is likely to pass, so that the message is tried again."""
    return code in _PASSING


def given_up(entry: bytes, outgoing: Outgoing, blob: bytes, why: str, now_ms: int) -> Settled:
    """The message as a dead letter."""
    letter = DeadLetter(
        LETTER_VERSION, "unsent", outgoing.trigger, outgoing.topic, outgoing.qos, outgoing.payload[:HEAD_BYTES],
        len(outgoing.payload), _digest(outgoing.payload), _properties(outgoing), now_ms, why, blob, outgoing.key,
    )  # fmt: skip
    return Settled(entry, outgoing.trigger, f"m-out-{outgoing.key}", encode_letter(letter))


def unreadable(entry: bytes, blob: bytes, why: str, now_ms: int) -> Settled:
    """What stands in an outbox and cannot be read, as a dead letter."""
    letter = DeadLetter(
        LETTER_VERSION, "unsent", "", "", 0, blob[:HEAD_BYTES], len(blob), _digest(blob), None, now_ms, why
    )
    return Settled(entry, "", f"m-out-{entry.decode()}", encode_letter(letter))


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _properties(outgoing: Outgoing) -> Properties:
    return Properties(
        message_expiry_interval=outgoing.expires_in_s,
        content_type=outgoing.content_type,
        response_topic=outgoing.response_topic,
        correlation_data=outgoing.correlation_data,
        user_properties=list(outgoing.user_properties),
    )
