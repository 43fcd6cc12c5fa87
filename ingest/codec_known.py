"""The hot path: runs of PUBLISHes whose topics and properties came before.

Nothing is judged here. Whatever is incomplete, new, unusual or wrong ends the run, and the readers of the two protocol
versions take it from there, one packet at a time: they judge, and fill the tables of what is known.
"""

from __future__ import annotations

from typing import Any

from mqtt5 import PublishPacket, QoS

from ingest.codec5 import read
from ingest.codec_framing import Known, Protocol

_FLAGS = {
    first: (QoS(first >> 1 & 0x03), bool(first & 0x01), bool(first & 0x08))
    for first in (0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x3A, 0x3B, 0x3C, 0x3D)
}
"""QoS, RETAIN and DUP by the first byte of a PUBLISH; an illegal one is absent."""


def publish311(first: int, topic: str, packet_id: int | None, payload: bytes) -> PublishPacket:
    """The packet of a PUBLISH of MQTT 3.1.1; its first byte is a legal one."""
    qos, retain, duplicate = _FLAGS[first]
    return PublishPacket(topic, payload, qos=qos, retain=retain, packet_id=packet_id, duplicate=duplicate)


def known_publishes(data: bytes, at: int, limit: int, protocol: Protocol, known: Known, packets: list[Any]) -> int:
    """Appends the PUBLISHes from `at` on of which everything is known, with bodies of at most `limit` bytes.

    Returns where it stopped.
    """
    sections = known.sections if protocol is Protocol.V5 else None
    append, topics, end = packets.append, known.topics, len(data)
    try:
        while True:
            first = data[at]
            length = data[at + 1]
            body = at + 2
            if length > 0x7F:
                length += (data[body] - 1) << 7
                body += 1
                if not 0x7F < length < 0x4000:
                    break
            stop = body + length
            rest = body + 2 + (data[body] << 8 | data[body + 1])
            name = data[body + 2 : rest]
            if stop > end or length > limit or name not in topics or first not in _FLAGS:
                break
            packet_id = None
            if first & 0x06:
                packet_id = data[rest] << 8 | data[rest + 1]
                rest += 2
            if rest > stop or packet_id == 0:
                break
            if sections is None:
                append(publish311(first, topics[name], packet_id, data[rest:stop]))
            else:
                size = data[rest]
                if size and (size > 0x7F or data[rest + 1 : rest + 1 + size] not in sections):
                    break
                append(read(data[at:stop])[0])
            at = stop
    except (IndexError, ValueError):
        pass
    return at
