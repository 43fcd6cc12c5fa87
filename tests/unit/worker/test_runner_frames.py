"""Frames between a worker and a runner's child."""

from __future__ import annotations

import struct

import pytest

from worker.runners.frames import FrameReader, encode_frame

FRAMES = [(b'{"id":"a"}', b""), (b"{}", b"\x00\xff" * 50), (b"", b"")]
STREAM = b"".join(encode_frame(head, body) for head, body in FRAMES)


@pytest.mark.parametrize("step", [1, 3, 8, len(STREAM)])
def test_frames_are_found_however_the_bytes_are_cut(step: int) -> None:
    """Byte by byte, in pieces, and all at once."""
    reader = FrameReader(1000, 1000)

    found = [frame for start in range(0, len(STREAM), step) for frame in reader.feed(STREAM[start : start + step])]

    assert found == FRAMES
    assert not reader.broken


@pytest.mark.parametrize("head,body", [(1001, 0), (0, 1001), (0xFFFFFFFF, 0xFFFFFFFF)])
def test_a_length_above_the_limit_ends_the_stream(head: int, body: int) -> None:
    """The frames before it are given, nothing after it is waited for."""
    reader = FrameReader(1000, 1000)

    found = reader.feed(STREAM + struct.pack("<II", head, body) + STREAM)

    assert found == FRAMES
    assert reader.broken
    assert reader.feed(STREAM) == []
