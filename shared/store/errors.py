"""What Redis and its client raise, as the errors of Headrace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.exceptions import NoScriptError, ResponseError

from shared.errors import HeadraceError, ScriptError, StoreUnavailable

# Answers after which the same request may work later: Redis is loading, failing over or full, was emptied, or forgot
# its scripts again between loading them and using them.
_UNAVAILABLE = frozenset(
    {"LOADING", "MASTERDOWN", "READONLY", "CLUSTERDOWN", "TRYAGAIN", "OOM", "MISCONF", "BUSY", "NOREPLICAS"}
    | {"UNBLOCKED", "NOGROUP", "NOSCRIPT"}
)
_REFUSED = frozenset({"WRONGPASS", "NOAUTH", "NOPERM"})


def translated(error: Exception, what: str) -> HeadraceError:
    """The error to raise for one that `what`, a verb or command, ended with."""
    if isinstance(error, HeadraceError):
        return error
    text = str(error)
    code = getattr(error, "status_code", None) or text.partition(" ")[0]
    if isinstance(error, ResponseError) and code not in _UNAVAILABLE:
        if code in _REFUSED:
            return StoreUnavailable(f"Redis refuses us: {text}", hint="check user and password in REDIS_URL", verb=what)
        return ScriptError(f"{what} failed in Redis: {text}", verb=what)
    return StoreUnavailable(
        f"Redis is not available: {text or type(error).__name__}", hint="check REDIS_URL and that Redis runs", verb=what
    )


def without_script(replies: Sequence[Any]) -> list[int]:
    """Which requests were not carried out, because Redis forgets scripts when it restarts or is told to."""
    return [i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError)]


def raise_first(names: Sequence[str], replies: Sequence[Any]) -> None:
    """Raise the first error among the replies to the verbs or commands of these names. Raises HeadraceError."""
    for name, reply in zip(names, replies, strict=True):
        if isinstance(reply, Exception):
            raise translated(reply, name) from reply
