"""What a deployment changes, as people read it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shared.cli_common import screen_width
from shared.tables import Column, table
from shared.workspace.changes import Change

SIGNS = {"created": "+", "changed": "~", "renamed": ">", "deleted": "-"}
_SHOWN = 8  # names in a line of what was left alone
_COLUMNS = (Column(""), Column(""), Column(""), Column(""), Column("", shrink=True))


def changes_table(changes: Iterable[Change]) -> str:
    """A line for each."""
    rows = []
    for each in changes:
        detail = f"was {each.was}" if each.was else ", ".join(each.details)
        rows.append((SIGNS[each.action], each.action, each.kind, each.path, detail))
    return table(_COLUMNS, rows, screen_width())


def counted(changes: Sequence[Change], unchanged: int | None) -> str:
    """`1 created, 2 changed, 3 unchanged`: how many of each."""
    counts = [f"{sum(each.action == action for each in changes)} {action}" for action in SIGNS]
    if unchanged is not None:
        counts.append(f"{unchanged} unchanged")
    return ", ".join(count for count in counts if not count.startswith("0 "))


def few(names: Sequence[str]) -> str:
    """The first of these names, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
