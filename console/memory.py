"""Memory of large payloads goes back to the system when it is free again."""

from __future__ import annotations

import ctypes
from typing import Final

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # mallopt(3)
_LARGE: Final = 1024 * 1024
_ARENAS: Final = 2


def keep_small() -> None:
    """Tell glibc, which else takes more and more of what was free for its own, in each thread; others need no telling.

    Blocks of a mebibyte and more come from the system by themselves and go back when they are freed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for what, value in ((_ARENA_MAX, _ARENAS), (_MMAP_THRESHOLD, _LARGE), (_TRIM_THRESHOLD, _LARGE)):
        mallopt(what, value)
