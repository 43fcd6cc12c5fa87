"""Looking for a text in everything that a pipeline leaves behind, through the wrappings that it has there."""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import redis

_DEEP: Final = 3
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/]{16,}={0,2}")
_BULK: Final = re.compile(rb"\$(\d+)\r\n")


class Traces:
    """Finds a text as it is and as JSON, Python and addresses write it; in bytes, and in what bytes unpack to."""

    def __init__(self, *texts: str) -> None:
        shapes = [
            form
            for text in texts
            for form in (text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1], repr(text)[1:-1])
        ]
        self._needles = {form.encode() for form in [*shapes, *(quote(text) for text in texts)]}

    def seen_in(self, data: bytes, deep: int = _DEEP) -> bool:
        """Whether any form of any of the texts is in there; base64 and zlib are undone."""
        if any(needle in data for needle in self._needles):
            return True
        return deep > 0 and any(self.seen_in(inner, deep - 1) for inner in _unpacked(data))

    def in_redis(self, client: redis.Redis) -> list[str]:
        """Keys of Redis, of any type, that hold one of the texts, or are named after one."""
        parts = {key: [key, *_contents(client, key)] for key in client.scan_iter(count=1000)}
        assert parts, "Redis is empty"
        return [key.decode() for key, found in parts.items() if any(self.seen_in(part) for part in found)]

    def in_files(self, folder: Path, *but: Path) -> list[str]:
        """Files at any depth that hold one of the texts; an append-only file is read command by command."""
        files = [path for path in folder.rglob("*") if path.is_file() and not any(path.is_relative_to(b) for b in but)]
        assert files, f"{folder} is empty"
        return [str(path) for path in files if any(self.seen_in(part) for part in _parts(path))]


def _unpacked(data: bytes) -> Iterator[bytes]:
    if data[:1] == b"x":
        try:
            yield zlib.decompress(data)
        except zlib.error:
            return
    for word in _BASE64.findall(data):
        try:
            yield base64.b64decode(word + b"=" * (-len(word) % 4))
        except binascii.Error:
            continue


def _contents(client: redis.Redis, key: bytes) -> Iterable[bytes]:
    """All that a key holds, as bytes: its dump would be compressed."""
    reads: dict[bytes, tuple[Any, ...]] = {
        b"string": ("GET", key),
        b"hash": ("HGETALL", key),
        b"list": ("LRANGE", key, 0, -1),
        b"set": ("SMEMBERS", key),
        b"zset": ("ZRANGE", key, 0, -1),
        b"stream": ("XRANGE", key, "-", "+"),
    }
    kind: Any = client.type(key)
    ask: Callable[..., Any] = client.execute_command
    return _flat(ask(*reads[kind])) if kind in reads else ()


def _flat(value: Any) -> Iterator[bytes]:
    match value:
        case bytes():
            yield value
        case dict():
            for pair in value.items():
                yield from _flat(pair)
        case list() | tuple() | set():
            for each in value:
                yield from _flat(each)


def _parts(path: Path) -> Iterator[bytes]:
    data = path.read_bytes()
    yield data
    if path.name.endswith(".incr.aof"):
        at = 0
        while found := _BULK.search(data, at):
            at = found.end() + int(found[1])
            yield data[found.end() : at]
