"""Tokens that let the code of a run speak to the console as this run, and for as long as it is executed.

A token names a run and one execution of it, signed; nothing is stored. Whoever checks one also asks Redis whether that
execution still goes on, so that a token ends with its run and does not outlive a crash or a retry.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

import msgspec

PURPOSE: Final = b"run tokens"
"""What the key is derived for, from the secret key."""
PREFIX: Final = "hr_run_"


class RunToken(msgspec.Struct, frozen=True):
    """Which execution of which run a token was made for."""

    run_id: str
    execution: str


def mint(key: bytes, run_id: str, execution: str) -> str:
    """The token of an execution: the same for the same key, fit for a header."""
    claim = f"{run_id} {execution}".encode()
    return f"{PREFIX}{_text(claim)}.{_text(_signature(key, claim))}"


def verify(key: bytes, token: str) -> RunToken | None:
    """What a token was made for; None for one that was not made with this key. Says nothing about its being alive."""
    head, _, signature = token.removeprefix(PREFIX).partition(".")
    if not token.startswith(PREFIX) or not token.isascii():
        return None
    try:
        claim = urlsafe_b64decode(head + "=" * (-len(head) % 4))
    except ValueError:
        return None
    if not hmac.compare_digest(signature, _text(_signature(key, claim))):
        return None
    run_id, _, execution = claim.decode().partition(" ")
    return RunToken(run_id, execution)


def _signature(key: bytes, claim: bytes) -> bytes:
    return hashlib.blake2b(claim, key=key, digest_size=32).digest()


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
