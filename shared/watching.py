"""Changes of a workspace folder, as they happen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from watchfiles import Change, watch

from shared.workspace.layout import FLOW_FILE, SETTINGS, is_looked_at, means_something

_DEBOUNCE_MS, _STEP_MS, _LOOK_MS = 500, 100, 200


def changes(folder: Path) -> Iterator[None]:
    """Once when the folder is watched, then at each change of its files; what comes at the same time counts as one.

    Nothing is missed that happens while the caller works. KeyboardInterrupt ends it.
    """
    root = folder.resolve()

    def matters(_change: Change, path: str) -> bool:
        return _matters(Path(path).relative_to(root).as_posix())

    first = True
    for found in watch(
        root, watch_filter=matters, debounce=_DEBOUNCE_MS, step=_STEP_MS, rust_timeout=_LOOK_MS, yield_on_timeout=True
    ):
        if first or found:
            first = False
            yield


def _matters(file: str) -> bool:
    """A file that a push reads, or what may be a folder with some: moving a folder is one change."""
    is_folder = "." not in file.rpartition("/")[2] or means_something(f"{file}/{FLOW_FILE}")
    return is_looked_at(file) and (file == SETTINGS or is_folder or means_something(file))
