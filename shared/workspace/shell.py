"""Bash scripts: the names of their parameters, which Windmill finds in lines like `name="$1"`."""

from __future__ import annotations

import re

_ASSIGNMENT = re.compile(
    r"""^[ \t]*(?:(?:export|local|readonly|declare)[ \t]+)?(\w+)=(["']?)\$(?:(\d+)|\{(\d+)(?::?[-=?+][^}\n]*)?\})\2""",
    re.MULTILINE,
)


def parameters(text: str) -> list[str]:
    """Names in the order of their numbers; '' for a number that no line names."""
    names: dict[int, str] = {}
    for match in _ASSIGNMENT.finditer(text):
        names.setdefault(int(match[3] or match[4]), match[1])
    names.pop(0, None)
    return [names.get(number, "") for number in range(1, max(names, default=0) + 1)]
