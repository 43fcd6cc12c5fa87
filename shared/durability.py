"""Does Redis keep what it was given? What the promise of QoS 1 and 2 needs of its configuration, and what it has."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from shared.errors import HeadraceError
from shared.scripts.call import Arg
from shared.store import Store

CONFIG_COMMAND: tuple[Arg, ...] = ("CONFIG", "GET", "appendonly", "appendfsync", "maxmemory-policy", "maxmemory")


class Durability(msgspec.Struct, frozen=True):
    """`full`: what was answered survives kill -9 of Redis. `unknown`: Redis does not tell, as managed ones may not."""

    level: Literal["full", "reduced", "unknown"]
    reasons: list[str]


def judge(config: dict[str, str]) -> Durability:
    """From the answer to CONFIG_COMMAND."""
    if "appendonly" not in config:
        return Durability("unknown", ["Redis does not tell its configuration (CONFIG GET is forbidden)"])
    reasons = []
    if config["appendonly"] != "yes":
        reasons.append("appendonly is no: when Redis dies, all since its last snapshot is forgotten")
    elif (fsync := config.get("appendfsync", "")) != "always":
        reasons.append(f"appendfsync is {fsync}: when Redis dies, its last second or more is forgotten")
    if (policy := config.get("maxmemory-policy", "")) != "noeviction":
        reasons.append(f"maxmemory-policy is {policy}: when memory runs out, Redis forgets what it likes")
    return Durability("reduced" if reasons else "full", reasons)


def read_durability(store: Store) -> Durability:
    """Ask Redis; `unknown` where it refuses to say."""
    try:
        return judge(read_config(store.command(*CONFIG_COMMAND)))
    except HeadraceError as error:
        return Durability("unknown", [error.message])


def read_config(reply: Any) -> dict[str, str]:
    """The answer to CONFIG GET, which the client may have made a dict of."""
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    return {_text(name): _text(value) for name, value in pairs}


def _text(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode()
