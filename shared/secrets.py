"""Secrets at rest: sealed with a key that is never in Redis.

AES-SIV (RFC 5297) gives the same sealed text for the same secret at the same path, so that an unchanged secret is an
unchanged definition; the path is authenticated with it, so that a sealed text cannot be moved to another variable.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.config import Settings
from shared.errors import SecretError

VARIABLE = "HEADRACE_SECRET_KEY"
MIN_KEY_CHARACTERS = 16

_SEALED = "hr1:"
_PLAIN = b"\0"  # before each secret, which may be empty: AES-SIV wants something to seal
_PURPOSE = b"secret variables"
_SIV_BYTES = 64
_OTHERS = 0o077


def is_sealed(text: str) -> bool:
    """Whether a text looks like what `SecretBox.seal` gives."""
    return text.startswith(_SEALED)


class SecretBox:
    """Seals and opens. The key is found when it is first needed, and stays in this object."""

    def __init__(self, find_key: Callable[[], bytes], has_key: Callable[[], bool] = lambda: True) -> None:
        self.made: Path | None = None
        """The key file, if this box has made it."""
        self.has_key = has_key
        """Whether there is a key already. Makes none; raises SecretError for one that cannot be used."""
        self._find_key = find_key
        self._key: bytes | None = None
        self._siv: AESSIV | None = None

    @classmethod
    def load(cls, settings: Settings, *, create: bool, env: Mapping[str, str] = os.environ) -> SecretBox:
        """The box of this installation: the key is HEADRACE_SECRET_KEY, else the file that the settings name.

        With `create` the first use makes the file, readable by its owner alone, where neither is there. Never raises.
        """
        path = settings.data / settings.secret_key_file

        def find_key() -> bytes:
            if key := _from_environment(env) or _from_file(path):
                return key
            if not create:
                return _missing(path)
            box.made = path
            return _make(path)

        box = cls(find_key, lambda: bool(_from_environment(env) or _from_file(path)))
        return box

    @classmethod
    def rehearsal(cls, settings: Settings, *, env: Mapping[str, str] = os.environ) -> SecretBox:
        """As `load`, but where there is no key, one that is forgotten with the box: nothing is written."""
        path = settings.data / settings.secret_key_file

        def given() -> bytes | None:
            return _from_environment(env) or _from_file(path)

        return cls(lambda: given() or _new_key(), lambda: bool(given()))

    @classmethod
    def without_key(cls) -> SecretBox:
        """A box whose every use raises SecretError."""
        return cls(lambda: _missing(None))

    def seal(self, path: str, text: str) -> str:
        """The text that is stored for a secret variable at this path. Raises SecretError."""
        sealed = self._cipher().encrypt(_PLAIN + text.encode(), [path.encode()])
        return _SEALED + base64.b64encode(sealed).decode()

    def open(self, path: str, sealed: str) -> str:
        """The secret again. Raises SecretError, which names the path and never the value."""
        try:
            data = base64.b64decode(sealed.removeprefix(_SEALED), validate=True)
            return self._cipher().decrypt(data, [path.encode()])[len(_PLAIN) :].decode()
        except (InvalidTag, binascii.Error, ValueError) as error:
            raise SecretError(
                f"the secret {path} cannot be opened: it was sealed with another key, or it is damaged",
                hint=f"give this process the key that it was pushed with ({VARIABLE}, or the key file), or push again",
                path=path,
            ) from error

    def derive(self, purpose: bytes) -> bytes:
        """A key of 32 bytes for something else; each purpose has its own. Raises SecretError."""
        return self._derived(purpose, 32)

    def _cipher(self) -> AESSIV:
        if self._siv is None:
            self._siv = AESSIV(self._derived(_PURPOSE, _SIV_BYTES))
        return self._siv

    def _derived(self, purpose: bytes, length: int) -> bytes:
        """HKDF-SHA256 (RFC 5869)."""
        if self._key is None:
            self._key = self._find_key()
        return HKDF(SHA256(), length, salt=None, info=b"headrace " + purpose).derive(self._key)


def _from_environment(env: Mapping[str, str]) -> bytes | None:
    text = env.get(VARIABLE, "")
    if not text:
        return None
    return _checked(text, VARIABLE)


def _from_file(path: Path) -> bytes | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SecretError(f"the key file {path} cannot be read: {error.strerror}", file=str(path)) from error
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if mode & _OTHERS:
            hint = f"chmod 600 {path}; if somebody may have read it, change the secrets and make a new key"
            raise SecretError(f"others may read the key file {path} (mode {mode & 0o777:o})", hint=hint, file=str(path))
        return _checked(file.read().decode("utf-8", "surrogateescape").strip(), f"the key file {path}")


def _checked(text: str, where: str) -> bytes:
    if len(text) < MIN_KEY_CHARACTERS:
        hint = "for example: openssl rand -base64 32"
        raise SecretError(f"{where} holds a key of {len(text)} characters, less than {MIN_KEY_CHARACTERS}", hint=hint)
    return text.encode("utf-8", "surrogateescape")


def _make(path: Path) -> bytes:
    """Complete or not at all: written beside, then linked to its name, which fails where another process was first."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(_new_key() + b"\n")
                file.flush()
                os.fsync(descriptor)
            os.link(beside, path)
        except FileExistsError:
            pass
        finally:
            beside.unlink()
    except OSError as error:
        hint = f"set {VARIABLE}, or let secret_key_file name a file that can be made"
        raise SecretError(f"the key file {path} cannot be made: {error.strerror}", hint=hint, file=str(path)) from error
    return _from_file(path) or _missing(path)


def _new_key() -> bytes:
    return base64.b64encode(secrets.token_bytes(32))


def _missing(path: Path | None) -> bytes:
    hint = f"set {VARIABLE}, or secret_key_file, to the key of the machine that pushed"
    where = f": {VARIABLE} is not set, and there is no {path}" if path else ""
    raise SecretError(f"there is no key for secrets{where}", hint=hint)
