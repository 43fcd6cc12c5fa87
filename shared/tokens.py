"""Tokens of people and tools that speak to the console: what they may do, until when, and who made them.

Only a digest of a token is kept. A token is 256 random bits: a plain hash of it can be neither reversed nor guessed.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from base64 import b32encode
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from shared import keys
from shared.errors import InternalError, NotThere, UserError
from shared.scripts.call import Arg
from shared.store import Store

Scope = Literal["read", "operate", "deploy", "admin"]
SCOPES: Final[tuple[Scope, ...]] = ("read", "operate", "deploy", "admin")
"""Each includes those before it."""
MEANINGS: Final[Mapping[Scope, str]] = {
    "read": "see everything but secrets",
    "operate": "the same, and cancel, re-run, retry, drop; enable, disable, suspend triggers; try a connection",
    "deploy": "the same, and change what is deployed",
    "admin": "the same, and make and revoke tokens, and read the audit log",
}
PREFIX: Final = "hr_api_"
MOST: Final = 1000
"""So many tokens can there be at once."""
_TOKEN = re.compile(rf"{PREFIX}([a-z2-7]{{8}})_([A-Za-z0-9_-]{{43}})")
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,100}")


class Token(msgspec.Struct, frozen=True):
    """What is kept of a token. Times are epoch milliseconds; `expires_at` None: never."""

    id: str
    name: str
    scope: Scope
    digest: str
    created_at: int
    created_by: str
    expires_at: int | None = None

    def is_good(self, now_ms: int) -> bool:
        """Whether it has not expired."""
        return self.expires_at is None or now_ms < self.expires_at


class TokenRow(msgspec.Struct, frozen=True):
    """A token as it is listed: all but its digest."""

    id: str
    name: str
    scope: Scope
    created_at: int
    created_by: str
    expires_at: int | None
    last_used_at: int | None


class NewToken(msgspec.Struct, frozen=True):
    """A token that was just made; `text` is shown this once and is nowhere kept."""

    text: str
    token: Token


def includes(scope: Scope, wanted: Scope) -> bool:
    """Whether who has one scope may do what needs another."""
    return SCOPES.index(scope) >= SCOPES.index(wanted)


def id_of(text: str) -> str | None:
    """The id in the text of a token; None for what has not its form."""
    found = _TOKEN.fullmatch(text)
    return found[1] if found else None


def token_command(token_id: str) -> tuple[Arg, ...]:
    """The command that fetches a record; read its answer with `read_token`."""
    return ("HGET", keys.TOKENS, token_id)


def read_token(blob: bytes | None) -> Token | None:
    """The answer to `token_command`."""
    if blob is None:
        return None
    try:
        return msgspec.json.decode(blob, type=Token)
    except msgspec.DecodeError as error:
        raise InternalError(f"the record of a token cannot be read: {error}") from error


def is_its_text(token: Token, text: str) -> bool:
    """Whether this is the text of the token; takes equally long whatever is wrong."""
    return hmac.compare_digest(token.digest, _digest(text))


def used_command(token_id: str, now_ms: int) -> tuple[Arg, ...]:
    """Notes that a token was used."""
    return ("HSET", keys.TOKENS_USED, token_id, now_ms)


def make_token(name: str, scope: Scope, created_by: str, now_ms: int, expires_at: int | None) -> NewToken:
    """A new token, kept nowhere yet. Raises UserError for a name that is none, or an expiry that is past."""
    if not _NAME.fullmatch(name) or not name.strip():
        raise UserError(f"{name[:100]!r} is no name for a token", hint="1 to 100 characters in one line")
    if expires_at is not None and expires_at <= now_ms:
        raise UserError("the token would have expired already", hint="give an expiry in the future, or none")
    token_id = b32encode(secrets.token_bytes(5)).decode().lower()
    text = f"{PREFIX}{token_id}_{secrets.token_urlsafe(32)}"
    return NewToken(text, Token(token_id, name, scope, _digest(text), now_ms, created_by, expires_at))


def create(store: Store, new: NewToken) -> None:
    """Keep it. Raises UserError when there are too many, StoreUnavailable."""
    if store.command("HLEN", keys.TOKENS) >= MOST:
        raise UserError(f"there are {MOST} tokens already", hint="headrace token revoke those that nobody uses")
    store.command("HSET", keys.TOKENS, new.token.id, msgspec.json.encode(new.token))


def list_tokens(store: Store) -> list[TokenRow]:
    """All, the oldest first, expired ones too."""
    blobs, used = store.commands([("HVALS", keys.TOKENS), ("HGETALL", keys.TOKENS_USED)])
    pairs = used.items() if isinstance(used, dict) else zip(used[::2], used[1::2], strict=True)
    last = {name.decode(): int(at) for name, at in pairs}
    tokens = [token for blob in blobs if (token := read_token(blob)) is not None]
    return [_row(token, last.get(token.id)) for token in sorted(tokens, key=lambda token: token.created_at)]


def find(store: Store, wanted: str) -> Token:
    """A token by its id, or by its name where that is the name of one. Raises UserError."""
    tokens = [token for blob in store.command("HVALS", keys.TOKENS) if (token := read_token(blob)) is not None]
    found = [token for token in tokens if token.id == wanted] or [token for token in tokens if token.name == wanted]
    if len(found) == 1:
        return found[0]
    if found:
        raise UserError(f"{len(found)} tokens have the name {wanted!r}", hint="name one of them by its id")
    raise NotThere(f"there is no token {wanted}", hint="headrace token list shows them", token=wanted)


def revoke(store: Store, token_id: str) -> bool:
    """End a token, and with it the browser sessions that began with it; whether it was there."""
    removed, _ = store.commands([("HDEL", keys.TOKENS, token_id), ("HDEL", keys.TOKENS_USED, token_id)])
    return bool(removed)


def are_there_any(blobs: list[bytes], now_ms: int) -> bool:
    """Whether one of these records (HVALS) is good now."""
    return any(token.is_good(now_ms) for blob in blobs if (token := read_token(blob)) is not None)


def _row(token: Token, last_used_at: int | None) -> TokenRow:
    return TokenRow(
        token.id, token.name, token.scope, token.created_at, token.created_by, token.expires_at, last_used_at
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
