"""Lists by path, page by page."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from litestar.params import Parameter

Many = Annotated[int, Parameter(ge=1, le=1000, description="At most so many.")]
After = Annotated[str, Parameter(max_length=1000, description="`next` of the page before.")]


def portion(known: Iterable[str], limit: int, after: str, path_start: str = "") -> tuple[list[str], str | None]:
    """The paths of one page, and the cursor of the next: the last path of this one."""
    fitting = sorted(path for path in known if path.startswith(path_start) and path > after)
    paths = fitting[:limit]
    return paths, paths[-1] if len(fitting) > limit else None
