"""The page of all Redis keys, from the table that heads the module that names them."""

from __future__ import annotations

from shared import keys
from shared.docs.page import page

_INTRODUCTION = """\
# Redis keys

Everything that Headrace knows is under these keys of one Redis database. Look at them as you like; change them with
[the verbs](verbs.md) alone, or the books will not balance.

Writers and readers are verbs, processes or commands. `<sid>` is the id of a trigger's session: it is made at the first
push and stays the same when the trigger is renamed."""


def render() -> str:
    """The whole page."""
    rows = "\n".join(line for line in (keys.__doc__ or "").splitlines() if line.startswith("|"))
    return page(_INTRODUCTION, rows)
