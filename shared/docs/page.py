"""What all generated pages are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

COMMAND = "python -m shared.docs"


def page(*parts: str) -> str:
    """The text of a page: where it comes from, then its parts."""
    return "\n\n".join([f"<!-- Rendered by {COMMAND}; edit the code, not this page. -->", *parts]) + "\n"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown. Cells are Markdown themselves."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def diagram(arrows: Iterable[tuple[str, str, str]]) -> str:
    """A state machine as Mermaid draws it, from (state, what happens, next state); the start is `[*]`."""
    lines = [f"    {before} --> {after}" + (f": {what}" if what else "") for before, what, after in arrows]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```"])
