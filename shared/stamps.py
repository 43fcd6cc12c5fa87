"""Who has deployed each name, when and why: kept as long as it is deployed, however long the list of deployments is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from shared import keys
from shared.errors import InternalError
from shared.scripts.call import Arg
from shared.store import Store


class Stamp(msgspec.Struct, frozen=True):
    """The number of a deployment, who made it, when (epoch ms) and why."""

    number: int
    author: str
    at: int
    message: str = ""


class Stamps(msgspec.Struct, frozen=True):
    """For each deployed `<kind>:<path>`: the deployment that changed it last, and the one that it came with."""

    newest: Mapping[str, Stamp]
    oldest: Mapping[str, Stamp]


STAMPS: tuple[tuple[Arg, ...], ...] = (("HGETALL", keys.DEPLOYED_NEWEST), ("HGETALL", keys.DEPLOYED_OLDEST))
"""What to ask Redis for; `read_stamps` reads its answers."""


def read_stamps(replies: Iterable[Any]) -> Stamps:
    """The answers to STAMPS."""
    return Stamps(*(_decoded(reply) for reply in replies))


def newest_stamp(store: Store, name: str) -> Stamp | None:
    """Of the deployment that changed `<kind>:<path>` last; None where it is not deployed. Raises StoreUnavailable."""
    blob = store.command("HGET", keys.DEPLOYED_NEWEST, name)
    return None if blob is None else _decode(blob)


def _decoded(reply: Any) -> dict[str, Stamp]:
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    return {name.decode(): _decode(blob) for name, blob in pairs}


def _decode(blob: bytes) -> Stamp:
    try:
        return msgspec.json.decode(blob, type=Stamp)
    except msgspec.DecodeError as error:
        raise InternalError(f"who has deployed something, and when, cannot be read: {error}") from error
