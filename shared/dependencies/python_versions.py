"""Whether a version of Python is one that was asked for. Pure; of a version only the first two numbers count."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable

Version = tuple[int, int]

_CLAUSE = re.compile(r"(?P<sign>===?|~=|!=|<=|>=|<|>|)\s*(?P<major>\d+)(?:\.(?P<minor>\d+))?(?:\.[\d*]+|\.\*)*")
_COMPARE: dict[str, Callable[[Version, Version], bool]] = {
    "": operator.eq,
    "==": operator.eq,
    "===": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.ge,  # 3.11.2 is above 3.11
    ">=": operator.ge,
    "~=": operator.ge,
}


def satisfies(version: str, asked: str) -> bool:
    """Whether `3.11` is within `>=3.10,<3.13`. What cannot be read asks for nothing."""
    major, minor = (int(number) for number in version.split(".")[:2])
    for clause in asked.split(","):
        match = _CLAUSE.fullmatch(clause.strip())
        if match is None:
            continue
        wanted = (int(match["major"]), int(match["minor"] if match["minor"] is not None else minor))
        ours = (major, minor)
        if not _COMPARE[match["sign"]](ours, wanted):
            return False
    return True
