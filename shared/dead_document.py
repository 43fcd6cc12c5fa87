"""A message that never became a run, as programs are told of it. Pure."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from shared.dead import DeadLetter
from shared.run_page import as_text
from shared.run_record import iso_ms


def letter_document(dead_id: str, letter: DeadLetter) -> dict[str, Any]:
    """All of it."""
    return {
        "id": dead_id,
        "kind": "message",
        "at": iso_ms(letter.at),
        "reason": letter.reason,
        "detail": letter.detail,
        "trigger": letter.trigger,
        "topic": letter.topic,
        "qos": letter.qos,
        "payload_size": letter.size,
        "digest": letter.digest,
        "payload": as_text(letter.payload),
        "payload_base64": base64.b64encode(letter.payload).decode(),
        "properties": letter.properties and msgspec.structs.asdict(letter.properties),
        "complete": letter.envelope is not None,
    }
