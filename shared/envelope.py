"""The envelope: one MQTT message on its way from the broker to the code.

The one wire format between ingest and dispatch, and the input of every run: msgpack, array-like, versioned.
Fields are only ever appended; a change of meaning is a new `ENVELOPE_VERSION`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from shared.errors import EnvelopeError, NewerEnvelope

ENVELOPE_VERSION = 1

QoS = Literal[0, 1, 2]


class Properties(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The properties of an MQTT 5 PUBLISH (§3.3.2.3) that code may want to see; absent ones are None or empty."""

    payload_format_indicator: int | None = None
    message_expiry_interval: int | None = None
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    subscription_identifiers: list[int] = []
    topic_alias: int | None = None
    user_properties: list[tuple[str, str]] = []


class Envelope(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A received PUBLISH and what ingest knew when it came.

    `qos` is the QoS of the delivery to us, `packet_id` is 0 at QoS 0, `received_at` is epoch milliseconds,
    `protocol` 4 (MQTT 3.1.1) or 5, `filters` the indices of the trigger's topics that it was delivered for
    (best first), `properties` None on 3.1.1, `trace` the span of the receipt where one was recorded
    (`TraceContext.packed`). `trigger_version` pins the routing: a deployment between
    admission and placement changes nothing.
    """

    version: int
    trigger: str
    trigger_version: str
    topic: str
    payload: bytes
    qos: QoS
    retain: bool
    dup: bool
    packet_id: int
    received_at: int
    protocol: int
    filters: list[int]
    properties: Properties | None = None
    trace: bytes | None = None


class _Head(msgspec.Struct, array_like=True):
    version: int


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Envelope)
_head_decoder = msgspec.msgpack.Decoder(_Head)

encode_envelope = _encoder.encode


def decode_envelope(blob: bytes) -> Envelope:
    """Read an envelope from the inbox.

    Raises `NewerEnvelope` when a newer release wrote it (leave it pending), `EnvelopeError` when it cannot be one.
    """
    try:
        envelope = _decoder.decode(blob)
    except msgspec.DecodeError as error:
        raise _explain(blob, error) from error
    if envelope.version != ENVELOPE_VERSION:
        raise _wrong_version(envelope.version)
    return envelope


def _explain(blob: bytes, error: Exception) -> EnvelopeError:
    try:
        version = _head_decoder.decode(blob).version
    except msgspec.DecodeError:
        return EnvelopeError(f"not an envelope: {error}", reason=str(error), size=len(blob))
    if version > ENVELOPE_VERSION:
        return _wrong_version(version)
    return EnvelopeError(f"an envelope of version {version} that cannot be read: {error}", reason=str(error))


def _wrong_version(version: int) -> EnvelopeError:
    if version > ENVELOPE_VERSION:
        return NewerEnvelope(
            f"an envelope of version {version} is in the inbox, this release reads up to {ENVELOPE_VERSION}",
            hint="finish the upgrade: start this process from the newer release; the message stays pending",
            version=version,
        )
    return EnvelopeError(f"envelope version {version} does not exist", reason="version", version=version)


def split_key(key: str) -> tuple[str, int, int]:
    """`<session>-<epoch>-<n>` → (session, epoch, admission number); raises EnvelopeError."""
    parts = key.split("-")
    if len(parts) != 3 or not (parts[1].isdigit() and parts[2].isdigit()):  # noqa: PLR2004
        raise EnvelopeError(f"not an idempotency key of the inbox: {key!r}", reason="key", key=key)
    return parts[0], int(parts[1]), int(parts[2])


def publisher_key(envelope: Envelope) -> str | None:
    """The publisher's own message id: user property `idempotency-key`, or CloudEvents `source` + `id`
    (CloudEvents 1.0, MQTT binding, binary mode). None where it gave none.
    """
    if envelope.properties is None or not envelope.properties.user_properties:
        return None
    given = dict(envelope.properties.user_properties)
    if key := given.get("idempotency-key"):
        return key
    if (source := given.get("source")) and (event := given.get("id")) and "specversion" in given:
        return f"{source} {event}"
    return None


def run_id(qos: int, key: str, index: int = 0) -> str:
    """The run's id, which is the RQ job's id: `q<QoS>-<session>-<epoch>-<n>`, `-<index>` for a second runnable.

    The QoS leads so that a sweep knows what it may do with the run without reading it.
    """
    return f"q{qos}-{key}-{index}" if index else f"q{qos}-{key}"


def message_key(run: str) -> str:
    """The idempotency key in the id of a run that a message made: the reverse of `run_id`, whatever the index."""
    return "-".join(run.split("-")[1:4])
