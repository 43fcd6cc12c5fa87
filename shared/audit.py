"""The audit log: every change that somebody made through the console, and of tokens by whichever way. Bounded.

A change is written down before it is made, as *begun*; when its outcome is known, an entry that tells it takes the
place of the first one. So whatever is killed, and whenever, no change stands without an entry: one that is still
`begun` tells that somebody has asked for this and that the outcome is not known.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import msgspec

from shared import keys
from shared.errors import InternalError
from shared.run_record import iso_ms
from shared.scripts.call import Arg
from shared.store import Store

DETAIL_BYTES: Final = 16 * 1024
"""The most that an entry keeps of each of before and after."""


class AuditEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who did what to what. `before` and `after` hold what is known of it then, and never a secret.

    `what` is the action in words, `on` what it was done to, `status` that of the answer (None: it was a command).
    `begun`: what came of it is not known (yet).
    """

    who: str
    what: str
    on: str = ""
    before: Any = None
    after: Any = None
    status: int | None = None
    address: str = ""
    begun: bool = False


class AuditRow(msgspec.Struct, frozen=True):
    """An entry as it is listed, newest first; `id` is its place in the log, `at` ISO 8601 in UTC."""

    id: str
    at: str
    who: str
    what: str
    on: str
    before: Any
    after: Any
    status: int | None
    address: str
    begun: bool = False


def audit_command(entry: AuditEntry, keep: int) -> tuple[Arg, ...]:
    """Appends an entry; about so many are kept."""
    small = msgspec.structs.replace(entry, before=_bounded(entry.before), after=_bounded(entry.after))
    return ("XADD", keys.AUDIT, "MAXLEN", "~", keep, "*", "e", msgspec.json.encode(small))


def begin_command(entry: AuditEntry) -> tuple[Arg, ...]:
    """Writes down what is about to be done; answered with the id of the entry. It pushes no other entry out."""
    begun = msgspec.structs.replace(entry, begun=True)
    return ("XADD", keys.AUDIT, "*", "e", msgspec.json.encode(begun))


def end_commands(begun: str | bytes, entry: AuditEntry | None, keep: int) -> list[tuple[Arg, ...]]:
    """Put an entry in the place of one that was begun; None: nothing was changed. The new one comes first."""
    done = [] if entry is None else [audit_command(entry, keep)]
    return [*done, ("XDEL", keys.AUDIT, begun)]


@contextmanager
def recorded(store: Store, entry: AuditEntry, keep: int) -> Iterator[None]:
    """An entry about what is done meanwhile. If that fails, the entry stays as begun. Raises StoreUnavailable."""
    begun: bytes = store.command(*begin_command(entry))
    yield
    store.commands(end_commands(begun, entry, keep))


def read_audit(store: Store, limit: int, before: str = "") -> list[AuditRow]:
    """The newest entries, or the newest of those before an entry. Raises StoreUnavailable."""
    top = f"({before}" if before else "+"
    reply = store.command("XREVRANGE", keys.AUDIT, top, "-", "COUNT", limit)
    return [_row(entry_id.decode(), fields) for entry_id, fields in reply]


def _row(entry_id: str, fields: dict[bytes, bytes]) -> AuditRow:
    try:
        entry = msgspec.json.decode(fields.get(b"e", b""), type=AuditEntry)
    except msgspec.DecodeError as error:
        raise InternalError(f"the entry {entry_id} of the audit log cannot be read: {error}") from error
    at = iso_ms(int(entry_id.partition("-")[0]))
    return AuditRow(
        entry_id,
        at,
        entry.who,
        entry.what,
        entry.on,
        entry.before,
        entry.after,
        entry.status,
        entry.address,
        entry.begun,
    )


def _bounded(value: Any) -> Any:
    text = msgspec.json.encode(value)
    return value if len(text) <= DETAIL_BYTES else {"cut": text[:DETAIL_BYTES].decode("utf-8", "replace")}
