"""Dead letters: what ended badly and is kept for a person to look at.

Two kinds share one list (`headrace:dead`, id → epoch ms): runs, whose record is their RQ job and whose id starts with
`q`; and messages that never became a run, whose id starts with `m-` and whose record is a `DeadLetter`.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from shared.envelope import Properties
from shared.errors import EnvelopeError

LETTER_VERSION: Final = 1
HEAD_BYTES: Final = 64 * 1024
"""The most of a payload that a letter keeps."""

Reason = Literal["invalid", "oversized", "unrouted", "poisoned", "unsent"]


class DeadLetter(msgspec.Struct, frozen=True, array_like=True):
    """A message that never became a run, or that could not be published (`unsent`), as it is stored: msgpack,
    array-like, fields only ever appended.

    `reason` is the cell of the identities that counted it, `detail` says it in words. `payload` is the head of the
    payload (at most HEAD_BYTES), `size` its whole length in bytes, `digest` a hex BLAKE2b of all of it. `at` is epoch
    milliseconds. `topic` is '' where none could be read. `envelope` is the whole entry of the inbox, where there was
    one that can be read, of what is `unsent` the entry of the outbox, and `key` the message's idempotency key.
    """

    version: int
    reason: Reason
    trigger: str
    topic: str
    qos: int
    payload: bytes
    size: int
    digest: str
    properties: Properties | None
    at: int
    detail: str
    envelope: bytes | None = None
    key: str = ""


_decoder = msgspec.msgpack.Decoder(DeadLetter)

encode_letter = msgspec.msgpack.Encoder().encode


def decode_letter(blob: bytes) -> DeadLetter:
    """Read what `encode_letter` wrote; EnvelopeError when it cannot be read."""
    try:
        letter = _decoder.decode(blob)
    except msgspec.DecodeError as error:
        raise EnvelopeError(f"a dead letter cannot be read: {error}", reason=str(error), size=len(blob)) from error
    if letter.version != LETTER_VERSION:
        raise EnvelopeError(
            f"a dead letter of version {letter.version}, this release reads {LETTER_VERSION}",
            hint="look at it with the release that wrote it",
            version=letter.version,
        )
    return letter
