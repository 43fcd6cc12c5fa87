"""Frames between a worker and a runner's child, the same both ways.

u32 LE length of the JSON, u32 LE length of the binary, JSON, binary.
"""

from __future__ import annotations

import struct

_HEADER = struct.Struct("<II")


def encode_frame(head: bytes, body: bytes) -> bytes:
    """One frame of a JSON head and a binary body."""
    return b"".join((_HEADER.pack(len(head), len(body)), head, body))


class FrameReader:
    """Cuts a byte stream into frames and holds at most one incomplete frame.

    A length above the limits sets `broken`: the frames before it are still given, nothing after it is read.
    """

    def __init__(self, max_head: int, max_body: int) -> None:
        self._max_head = max_head
        self._max_body = max_body
        self._buffer = bytearray()
        self.broken = False

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """The frames that are complete now, as (JSON, binary)."""
        buffer = self._buffer
        buffer += data
        frames: list[tuple[bytes, bytes]] = []
        start = 0
        while not self.broken and len(buffer) - start >= _HEADER.size:
            head, body = _HEADER.unpack_from(buffer, start)
            if head > self._max_head or body > self._max_body:
                self.broken = True
                break
            cut = start + _HEADER.size + head
            if len(buffer) < cut + body:
                break
            frames.append((bytes(buffer[start + _HEADER.size : cut]), bytes(buffer[cut : cut + body])))
            start = cut + body
        del buffer[:start]
        return frames
