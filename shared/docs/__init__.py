"""The reference pages that are rendered from the code: `python -m shared.docs` writes them, `--check` compares.

A page is one module here, with a `render` that gives its whole text; PAGES names them all.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from shared.docs import (
    commands,
    configuration,
    console_api,
    events,
    keys,
    metrics,
    openflow,
    run_states,
    session_states,
    verbs,
)
from shared.docs.page import COMMAND

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference"

PAGES: list[tuple[Path, Callable[[], str]]] = [
    (FOLDER / "commands.md", commands.render),
    (FOLDER / "configuration.md", configuration.render),
    (FOLDER / "console-api.md", console_api.render),
    (FOLDER / "events.md", events.render),
    (FOLDER / "keys.md", keys.render),
    (FOLDER / "metrics.md", metrics.render),
    (FOLDER / "openflow.md", openflow.render),
    (FOLDER / "run-states.md", run_states.render),
    (FOLDER / "session-states.md", session_states.render),
    (FOLDER / "verbs.md", verbs.render),
]
"""Every generated page and what renders it."""


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or with `--check` name those that are not current; gives the exit status."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write(f"usage: {COMMAND} [--check]\n")
        return 2
    stale = [(path, text) for path, render in PAGES if _current(path) != (text := render())]
    if arguments:
        for path, _ in stale:
            sys.stderr.write(f"{path.relative_to(FOLDER.parent.parent)} is not current; run: {COMMAND}\n")
        return 1 if stale else 0
    for path, text in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


def _current(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None
