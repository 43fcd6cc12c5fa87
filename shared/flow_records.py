"""What is kept of a flow that runs: one record for each thing that has begun or come to its end.

They stand in one hash under the keys of the interpreter: `a` is how step a has ended, `a>` how it was begun, `a?stop`
what an expression has come to. Under `<fan>/<number>` stands how a parallel part has ended, in words of Redis.
Names with `!` are the engine's own.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

import msgspec

BEGUN: Final = ">"
"""Ends the name of a record of something that has begun."""
AGAIN: Final = "!again"
"""Somebody has run again what had failed."""
FAILED: Final = "!failed"
"""The key of what has made the flow fail."""
STARTED: Final = "!started"
"""When the flow was started for the first time, epoch ms."""
INPUT: Final = "!input"
"""The arguments of the flow, as its preprocessor has made them."""

ENTERED: Final = "!entered"
"""Ends the name of a record of a step that consists of steps and has begun."""
LEFT: Final = "!ended"
"""Ends the name of a record of what runs no code of its own and has ended. The engine does not ask for either."""

TIMED_OUT: Final = "timed_out"
"""In the `extra` of the error of a part: the key of the step around it whose time-out has ended it."""
PARTS: Final = "!parts"
"""Ends the name of a record of parts that have begun side by side."""
FROM: Final = "!from/"
"""`<fan>!from/<number>`: the records that a part of a flow which was restarted in the middle begins with."""
LIMIT: Final = "?timeout"
"""Ends the name of a record of how long a step that consists of steps may take, and until when."""

INTERRUPTED: Final = "Interrupted"
"""The name of the error of a step that was cut off, and is not done again."""

_MARKS: Final = (ENTERED, LEFT)
_SUCCEEDED = "succeeded"
_PART_ERRORS: Final = {
    "interrupted": (INTERRUPTED, "the part was cut off by the death of its worker"),
    "lost": ("Lost", "the part was lost by the death of its worker"),
    "cancelled": ("Cancelled", "the part was cancelled"),
    "failed": ("Crashed", "the part has crashed too often"),
}


class Begun(msgspec.Struct, frozen=True, omit_defaults=True):
    """A step has begun: with these inputs, at this time (epoch ms), for the `starts`th time. `masked`: the inputs hold
    secrets, which are not shown; `sealed` are the inputs then.
    """

    at: int
    inputs: Any = None
    path: str = ""
    version: str = ""
    starts: int = 1
    masked: bool = False
    sealed: str = ""


class Ended(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something has ended at this time, well or badly. `limit`: by the time-out of the step around it with this key.
    `sealed`: the result holds a secret, and is a text that only a worker opens.
    """

    at: int
    ok: bool = True
    result: Any = None
    error: dict[str, Any] | None = None
    log: str = ""
    labels: list[str] = []
    final: bool = False
    limit: str = ""
    sealed: bool = False


class Limit(msgspec.Struct, frozen=True, omit_defaults=True):
    """A step that consists of steps has to have ended by then (epoch ms): so many seconds after it began. `key` is that
    of its attempt, `step` its id.
    """

    key: str
    step: str
    seconds: float
    until_ms: int


class RawEnded(msgspec.Struct, frozen=True, omit_defaults=True):
    """The same, with a result that is JSON already."""

    at: int
    ok: bool = True
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: dict[str, Any] | None = None
    log: str = ""
    labels: list[str] = []
    limit: str = ""


class Fanned(msgspec.Struct, frozen=True, omit_defaults=True):
    """Parts with these numbers have begun side by side as these runs. What they know, when the flow must have ended,
    and the step around them. `taken`: some begin with what another run has recorded.
    """

    at: int
    flow_input: dict[str, Any]
    results: dict[str, Any]
    runs: list[str] = []
    parts: list[int] = []
    deadline_ms: int | None = None
    limit: Limit | None = None
    taken: bool = False

    def run_of(self, number: int) -> str | None:
        """The run of the part with this number."""
        return next((run for part, run in zip(self.parts, self.runs, strict=True) if part == number), None)


class Entered(msgspec.Struct, frozen=True, omit_defaults=True):
    """A step that consists of steps has begun at this time: a flow within the flow with these inputs, a loop with so
    many items, which are kept where they are small.
    """

    at: int
    inputs: Any = None
    items: list[Any] | None = None
    count: int | None = None


class Left(msgspec.Struct, frozen=True, omit_defaults=True):
    """What runs no code of its own has come to its end at this time: a step that consists of steps, an iteration or a
    branch of one, a step that passes something on.

    Its result stands elsewhere, where it can: at the key `of`, or as the results of so many `parts`. `how`: it was
    `mocked` or `skipped`.
    """

    at: int
    ok: bool = True
    result: Any = None
    error: dict[str, Any] | None = None
    of: str = ""
    parts: int | None = None
    how: str = ""


_encode = msgspec.json.Encoder().encode
_ended = msgspec.json.Decoder(Ended).decode
_begun = msgspec.json.Decoder(Begun).decode
_fanned = msgspec.json.Decoder(Fanned).decode
_entered = msgspec.json.Decoder(Entered).decode
_left = msgspec.json.Decoder(Left).decode


def encode(record: Begun | Ended | RawEnded | Fanned | Entered | Left) -> bytes:
    """As it is kept."""
    return _encode(record)


def read_ended(blob: bytes) -> Ended:
    """How something has ended; also a part, by what the end of its run has left."""
    if blob[:1] == b"{":
        return _ended(blob)
    state, _, text = blob.decode("utf-8", "replace").partition(" ")
    if state == _SUCCEEDED:
        return Ended(0, result=_unpacked(text))
    name, message = _PART_ERRORS.get(state, ("UnknownError", state))
    error: dict[str, Any] = {"name": name, "message": message}
    if text.startswith("{"):
        error |= msgspec.json.decode(text, type=dict[str, Any])
    return Ended(0, ok=False, error=error, limit=limit_in(error))


def is_mark(name: str) -> bool:
    """Whether a record is one that the engine does not ask for."""
    return name.endswith(_MARKS)


def part_state(blob: bytes) -> str:
    """The state in which the run of a part has ended, '' for what is no part."""
    return "" if blob[:1] == b"{" else blob.partition(b" ")[0].decode()


def limit_in(error: dict[str, Any]) -> str:
    """The key of the step whose time-out has ended a part, '' if none has."""
    extra = error.get("extra")
    found = extra.get(TIMED_OUT, "") if isinstance(extra, dict) else ""
    return found if isinstance(found, str) else ""


def encode_records(fields: Mapping[str, bytes]) -> bytes:
    """Records as one record."""
    return msgspec.msgpack.encode(fields)


def read_records(blob: bytes) -> dict[str, bytes]:
    """The records in a record."""
    return msgspec.msgpack.decode(blob, type=dict[str, bytes])


def read_begun(blob: bytes) -> Begun:
    """How a step has begun."""
    return _begun(blob)


def read_fanned(blob: bytes) -> Fanned:
    """What parts know."""
    return _fanned(blob)


def read_entered(blob: bytes) -> Entered:
    """How a step that consists of steps has begun."""
    return _entered(blob)


def read_left(blob: bytes) -> Left:
    """What something has come to that runs no code of its own."""
    return _left(blob)


def _unpacked(text: str) -> Any:
    try:
        return msgspec.msgpack.decode(base64.b64decode(text)) if text else None
    except (msgspec.DecodeError, binascii.Error):
        return None
