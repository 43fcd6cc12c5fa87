"""Which ids a step of a flow may have. Pure."""

from __future__ import annotations

import re

from shared.openflow import FAILURE, PREPROCESSOR

_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LONGEST = 64
_TAKEN = {
    FAILURE: "the failure module has this id",
    PREPROCESSOR: "the preprocessor has this id",
    "__proto__": "JavaScript has a meaning for it",
    "constructor": "JavaScript has a meaning for it",
}


def bad_id(text: str) -> str:
    """Why this cannot be the id of a step, which is a property of `results`; empty if it can."""
    if not _ID.fullmatch(text):
        return "no identifier"
    if len(text) > _LONGEST:
        return f"longer than {_LONGEST} characters"
    return _TAKEN.get(text, "")
