"""What a measurement came to, and the table that shows it beside what it is measured against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Target:
    """What a figure, or its ratio to the one beside it, should reach."""

    of_ratio: bool
    limit: float
    at_most: bool = False

    def text(self, unit: str) -> str:
        """In words of the table."""
        value = f"{self.limit:g} ×" if self.of_ratio else f"{amount(self.limit)} {unit}"
        return f"{'≤' if self.at_most else '≥'} {value}"

    def is_reached(self, value: float) -> bool:
        """By this figure or ratio."""
        return value <= self.limit if self.at_most else value >= self.limit


@dataclass(frozen=True)
class Row:
    """One figure, measured one or more times, and what was measured beside it in turn."""

    what: str
    unit: str
    values: Sequence[float]
    beside: str = ""
    beside_values: Sequence[float] = ()
    target: Target | None = None

    @property
    def ratio(self) -> float | None:
        """Median to median."""
        return median(self.values) / median(self.beside_values) if self.beside_values else None

    @property
    def verdict(self) -> str:
        """The target, and whether it is reached."""
        if self.target is None:
            return ""
        value = self.ratio if self.target.of_ratio else median(self.values)
        if value is None:
            return self.target.text(self.unit)
        return f"{self.target.text(self.unit)}: {'yes' if self.target.is_reached(value) else 'NO'}"


@dataclass(frozen=True)
class Missing:
    """A row that could not be measured, and why."""

    what: str
    why: str


def amount(value: float) -> str:
    """A number with as many digits as mean something."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def render(rows: Sequence[Row | Missing]) -> str:
    """A Markdown table that lines up in a terminal too."""
    head = ("measured", "median", "of", "range", "beside", "its median", "ratio", "target")
    cells = [head, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    lines = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in cells]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _cells(row: Row | Missing) -> tuple[str, ...]:
    if isinstance(row, Missing):
        return (row.what, "left out", "", "", row.why, "", "", "")
    count = len(row.values)
    span = f"{amount(min(row.values))} – {amount(max(row.values))}" if count > 1 else ""
    beside = f"{amount(median(row.beside_values))} {row.unit}" if row.beside_values else ""
    ratio = f"{row.ratio:.2f} ×" if row.ratio is not None else ""
    return (
        row.what, f"{amount(median(row.values))} {row.unit}", str(count), span, row.beside, beside, ratio, row.verdict
    )  # fmt: skip
