"""Text for terminals: tables that keep their columns, sizes and durations that read well.

What comes from messages and from users' code is made harmless first: no control character reaches the terminal.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Literal

import msgspec

GAP = "  "
MINIMUM = 8
"""A column that may shrink is never narrower."""

_MS = 1000
_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000))
_SIZES = (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024))


class Column(msgspec.Struct, frozen=True):
    """A column; one that may `shrink` gives way, ending in …, where a line would be too long."""

    title: str
    align: Literal["left", "right"] = "left"
    shrink: bool = False


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None = None) -> str:
    """Lines of a table under its titles (if it has any), without trailing spaces; `width` None never shortens."""
    titles = [column.title for column in columns]
    cells = [*([titles] if any(titles) else []), *[[printable(cell) for cell in row] for row in rows]]
    widths = [max((columns_of(row[i]) for row in cells), default=0) for i in range(len(columns))]
    if width is not None:
        _shrink(columns, widths, width - len(GAP) * (len(columns) - 1))
    return "\n".join(_line(columns, row, widths) for row in cells)


def printable(text: str) -> str:
    """The text on one line: a control character is shown as its escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def printable_lines(text: str) -> str:
    """The same for a text of several lines (a log, a traceback): line ends and tabs stay."""
    return "\n".join("\t".join(printable(part) for part in line.split("\t")) for line in text.splitlines())


def columns_of(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    return sum(_columns_of(c) for c in text)


def clip(text: str, width: int) -> str:
    """The text within so many columns, with … where something was left out."""
    if columns_of(text) <= width:
        return text
    kept, used = "", 1
    for c in text:
        used += _columns_of(c)
        if used > width:
            break
        kept += c
    return kept + "…"


def duration(ms: float | None) -> str:
    """`850 µs`, `4.2 ms`, `3.1 s`, `2 min 5 s`, `3 h 20 min`; `–` for None."""
    if ms is None:
        return "–"
    if ms < 1:
        return f"{ms * _MS:.0f} µs" if ms else "0 ms"
    if ms < _MS:
        return f"{ms:.3g} ms"
    for index, (unit, length) in enumerate(_UNITS):
        if ms >= length:
            smaller, step = ("s", _MS) if index + 1 == len(_UNITS) else _UNITS[index + 1]
            whole, rest = divmod(int(ms), length)
            return f"{whole} {unit} {rest // step} {smaller}"
    return f"{ms / _MS:.3g} s"


def size(count: int | None) -> str:
    """`512 B`, `1.5 KiB`; `–` for None."""
    if count is None:
        return "–"
    for unit, length in _SIZES:
        if count >= length:
            return f"{count / length:.1f} {unit}"
    return f"{count} B"


def number(count: int) -> str:
    """`12 345`: digits in groups of three."""
    return f"{count:,}".replace(",", " ")


def _columns_of(c: str) -> int:
    if unicodedata.combining(c):
        return 0
    return 2 if unicodedata.east_asian_width(c) in {"W", "F"} else 1


def _shrink(columns: Sequence[Column], widths: list[int], available: int) -> None:
    """Take from the widest column that may shrink until the line fits or nothing is left to take."""
    while sum(widths) > available:
        candidates = [i for i, column in enumerate(columns) if column.shrink and widths[i] > MINIMUM]
        if not candidates:
            return
        widths[max(candidates, key=lambda i: widths[i])] -= 1


def _line(columns: Sequence[Column], row: Sequence[str], widths: Sequence[int]) -> str:
    cells = []
    for column, cell, width in zip(columns, row, widths, strict=True):
        shown = clip(cell, width)
        space = " " * (width - columns_of(shown))
        cells.append(space + shown if column.align == "right" else shown + space)
    return GAP.join(cells).rstrip()
