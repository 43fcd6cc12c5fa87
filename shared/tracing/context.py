"""W3C Trace Context (Level 1, https://www.w3.org/TR/trace-context/), as MQTT 5 carries it: in user properties. Pure.

What is not valid is as if it were not there (§3.2.2.3, §4.3): of a `traceparent` that is wrong, or is there twice,
nothing is known; a `tracestate` that is wrong is dropped alone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Final

import msgspec

TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"
SAMPLED: Final = 1
KNOWN_FLAGS: Final = 3
"""Sampled, and random, as Level 2 has it."""

_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_SIMPLE_KEY = r"[a-z][a-z0-9_\-*/]{0,255}"
_TENANT_KEY = r"[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13}"
_VALUE = r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
_MEMBER = re.compile(f"(?:{_SIMPLE_KEY}|{_TENANT_KEY})={_VALUE}")
_MEMBERS_MAX: Final = 32
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16
_PACKED: Final = 25


class TraceContext(msgspec.Struct, frozen=True):
    """A trace, and the span in it that all else is below. Ids are lower-case hexadecimal, `state` may be empty."""

    trace_id: str
    span_id: str
    flags: int
    state: str = ""

    @property
    def is_sampled(self) -> bool:
        """Whether spans of this trace are to be recorded."""
        return bool(self.flags & SAMPLED)

    @property
    def traceparent(self) -> str:
        """As it is sent; what a later version may have added is not passed on (§4.3)."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags & KNOWN_FLAGS:02x}"

    def below(self, span_id: str) -> TraceContext:
        """The same trace, below this span."""
        return TraceContext(self.trace_id, span_id, self.flags, self.state)

    def packed(self) -> bytes:
        """All but the state, in 25 bytes."""
        return bytes.fromhex(f"{self.trace_id}{self.span_id}{self.flags:02x}")


def unpack(packed: bytes, state: str = "") -> TraceContext | None:
    """The reverse of `packed`; None where it is something else."""
    if len(packed) != _PACKED:
        return None
    return TraceContext(packed[:16].hex(), packed[16:24].hex(), packed[24], state)


def parse(traceparent: str, tracestate: str = "") -> TraceContext | None:
    """What was sent; None where the `traceparent` is not valid."""
    found = _PARENT.fullmatch(traceparent)
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more is not None) or trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return TraceContext(trace_id, span_id, int(flags, 16), _state(tracestate))


def of_properties(properties: Iterable[tuple[str, str]]) -> TraceContext | None:
    """What user properties say. Several of the name `tracestate` are one list (§3.3.1)."""
    parents = [value for name, value in properties if name == TRACEPARENT]
    if len(parents) != 1:
        return None
    return parse(parents[0], ",".join(value for name, value in properties if name == TRACESTATE))


def derived_id(what: str, size: int = 8) -> str:
    """An id of so many bytes that follows from a text: that of a span which another process has recorded."""
    return hashlib.blake2b(what.encode(), digest_size=size).hexdigest()


def _state(text: str) -> str:
    """The list in its normal form; '' where it is not valid (§3.3.1.3)."""
    members = [member for part in text.split(",") if (member := part.strip(" \t"))]
    names = [member.partition("=")[0] for member in members]
    valid = len(members) <= _MEMBERS_MAX and len(set(names)) == len(names) and all(map(_MEMBER.fullmatch, members))
    return ",".join(members) if valid else ""
