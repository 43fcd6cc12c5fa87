"""Messages on their way out: what runs publish, between the step that ends a run and the broker's acknowledgement.

Each broker has an outbox, a stream of Redis. What is in it is published in order, at least once, by one process at a
time. A message says which trigger's run it comes from, so that this trigger does not get it back.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from shared.errors import EnvelopeError, NewerEnvelope

OUTGOING_VERSION: Final = 1
CAUSE: Final = "headrace-cause"
"""User property of everything that is published: the session of the trigger whose run it was."""
KEY: Final = "idempotency-key"
"""User property with the message's own id: of two deliveries with one id, one is a repetition."""


class Outgoing(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A message in the outbox: msgpack, fields only ever appended.

    `broker` is the path of a resource, `trigger` that of the trigger whose run it is, `cause` that trigger's version;
    both are '' where no message is behind the run. `key` is unique among all that is published. Without MQTT 5 what is
    named like one of its properties is left out.
    """

    version: int
    broker: str
    trigger: str
    cause: str
    run: str
    key: str
    topic: str
    payload: bytes
    qos: Literal[0, 1] = 1
    retain: bool = False
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    user_properties: tuple[tuple[str, str], ...] = ()
    expires_in_s: int | None = None


_decoder = msgspec.msgpack.Decoder(Outgoing)

encode_outgoing = msgspec.msgpack.Encoder().encode


def decode_outgoing(blob: bytes) -> Outgoing:
    """Read what `encode_outgoing` wrote. Raises NewerEnvelope, and EnvelopeError when it cannot be read."""
    try:
        outgoing = _decoder.decode(blob)
    except msgspec.DecodeError as error:
        raise EnvelopeError(f"a message to be published cannot be read: {error}", reason=str(error)) from error
    if outgoing.version > OUTGOING_VERSION:
        raise NewerEnvelope(
            f"a message to be published of version {outgoing.version}, this release reads up to {OUTGOING_VERSION}",
            hint="finish the upgrade: start this process from the newer release; the message stays where it is",
            version=outgoing.version,
        )
    return outgoing
