"""A PUBLISH as eight bytes: digests of messages, also of those that are too large to keep."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from mqtt5 import PublishPacket, QoS

HEAD_BYTES = 64 * 1024
"""How much of an oversized payload is kept."""

_FRAMING = struct.Struct(">QH")
_FIELD = struct.Struct(">BI")


@dataclass(frozen=True, slots=True)
class OversizedPublish:
    """A PUBLISH whose payload is over the limit: all that is kept of it.

    `properties` is the packet with an empty payload, `size` the payload's bytes, `digest` their BLAKE2b of 8 bytes and
    `head` the first 64 KiB of them.
    """

    properties: PublishPacket
    size: int
    digest: bytes
    head: bytes

    @property
    def topic(self) -> str:
        """The topic as sent: empty where a topic alias stands for it."""
        return self.properties.topic

    @property
    def qos(self) -> QoS:
        """The delivery QoS."""
        return self.properties.qos

    @property
    def packet_id(self) -> int | None:
        """The packet identifier, None at QoS 0."""
        return self.properties.packet_id

    @property
    def retain(self) -> bool:
        """The RETAIN flag."""
        return self.properties.retain

    @property
    def duplicate(self) -> bool:
        """The DUP flag."""
        return self.properties.duplicate


class OversizedBody:
    """Takes an oversized payload in pieces of any size. Keeps 64 KiB of it, whatever comes."""

    def __init__(self, properties: PublishPacket, size: int) -> None:
        self._properties = properties
        self._size = size
        self._head = bytearray()
        self._hash = hashlib.blake2b(digest_size=8)
        self.missing = size

    def take(self, piece: memoryview) -> None:
        """The next bytes of the payload, at most `missing` of them."""
        self.missing -= len(piece)
        self._hash.update(piece)
        self._head += piece[: HEAD_BYTES - len(self._head)]

    def finish(self) -> OversizedPublish:
        """What remains of the packet once nothing is missing."""
        return OversizedPublish(self._properties, self._size, self._hash.digest(), bytes(self._head))


def publish_digest(publish: PublishPacket | OversizedPublish, topic: str | None = None) -> bytes:
    """Eight bytes that are equal for the same message sent again, and for another one but for a chance of 2^-64 differ.

    Over topic, payload and the properties that a server passes on unchanged (MQTT 5 §3.3.2.3). Not over packet
    identifier, DUP, topic alias, message expiry interval and subscription identifiers, which differ between two
    sendings. `topic` is the full one where `publish` carries a topic alias. A message gives the same digest whether its
    payload was kept or not.
    """
    if isinstance(publish, OversizedPublish):
        packet, size = publish.properties, publish.size
        body = publish.head if size <= HEAD_BYTES else publish.digest
    else:
        packet, body = publish, publish.payload
        size = len(body)
        if size > HEAD_BYTES:
            body = hashlib.blake2b(body, digest_size=8).digest()
    name = (packet.topic if topic is None else topic).encode()
    message = _FRAMING.pack(size, len(name)) + name + body + _lasting_properties(packet)
    return hashlib.blake2b(message, digest_size=8).digest()


def _lasting_properties(packet: PublishPacket) -> bytes:
    fields: list[tuple[int, bytes]] = []
    if packet.payload_format_indicator:
        fields.append((0x01, b""))
    if packet.content_type is not None:
        fields.append((0x03, packet.content_type.encode()))
    if packet.response_topic is not None:
        fields.append((0x08, packet.response_topic.encode()))
    if packet.correlation_data is not None:
        fields.append((0x09, packet.correlation_data))
    for name, value in packet.user_properties:
        fields += ((0x26, name.encode()), (0x26, value.encode()))
    if not fields:
        return b""
    return b"".join(_FIELD.pack(identifier, len(value)) + value for identifier, value in fields)
