"""What is deployed now, read from Redis: the table of versions, and records by version (which never change)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from shared import keys
from shared.definitions import Kind, Record, decode_definition
from shared.scripts.call import Arg
from shared.store import AsyncStore, Store

_AT_ONCE = 500


class Deployed(msgspec.Struct, frozen=True):
    """Deployment `number` (0: nothing was ever deployed) and its table `<kind>:<path>` → version."""

    number: int
    versions: dict[str, str]

    def of_kind(self, kind: Kind) -> dict[str, str]:
        """Path → version of everything of one kind, sorted by path."""
        prefix = kind + ":"
        return {name[len(prefix) :]: self.versions[name] for name in sorted(self.versions) if name.startswith(prefix)}


NUMBER: tuple[Arg, ...] = ("HGET", keys.DEPLOYMENT, "number")
TABLE: tuple[Arg, ...] = ("HGETALL", keys.DEPLOYED)


def read_number(reply: bytes | None) -> int:
    """The answer to NUMBER."""
    return int(reply or 0)


def read_deployed(number: bytes | None, table: Sequence[bytes] | dict[bytes, bytes]) -> Deployed:
    """The answers to NUMBER and TABLE."""
    pairs = table.items() if isinstance(table, dict) else zip(table[::2], table[1::2], strict=True)
    return Deployed(read_number(number), {name.decode(): version.decode() for name, version in pairs})


def definition_command(version: str) -> tuple[Arg, ...]:
    """The command that fetches a record; decode its answer with `read_definition`."""
    return ("HGET", keys.DEFINITIONS, version)


def read_definition(blob: bytes | None, kind: type[Record]) -> Record | None:
    """The answer to `definition_command`; None when there is no such version."""
    return None if blob is None else decode_definition(blob, kind)


def read_all(store: Store, versions: Mapping[str, str], kind: type[Record]) -> dict[str, Record]:
    """Path → record, for these paths of a kind; one that is not there is left out. Raises StoreUnavailable."""
    replies = store.commands(_requests(versions))
    return _records(versions, [blob for reply in replies for blob in reply], kind)


async def read_all_async(store: AsyncStore, versions: Mapping[str, str], kind: type[Record]) -> dict[str, Record]:
    """As `read_all`."""
    blobs: list[bytes | None] = []
    for request in _requests(versions):
        blobs += await store.command(*request)
    return _records(versions, blobs, kind)


def _requests(versions: Mapping[str, str]) -> list[tuple[Arg, ...]]:
    """Redis answers nobody else meanwhile: not too many at once."""
    wanted = list(versions.values())
    return [("HMGET", keys.DEFINITIONS, *wanted[i : i + _AT_ONCE]) for i in range(0, len(wanted), _AT_ONCE)]


def _records(versions: Mapping[str, str], blobs: Sequence[bytes | None], kind: type[Record]) -> dict[str, Record]:
    found = zip(versions, blobs, strict=True)
    return {path: decode_definition(blob, kind) for path, blob in found if blob is not None}
