"""Values in the address of a list, as Windmill's clients write them. Pure; what cannot be read is a Refusal (400)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, Final

import msgspec

from console.errors import bad_request
from shared.errors import UserError
from shared.run_query import parse_sought
from shared.when import epoch_us

_TRUE, _FALSE = frozenset({"true", "1"}), frozenset({"false", "0"})
_NOT: Final = "!"


class Words(msgspec.Struct, frozen=True):
    """One of several texts: `a,b`, or none of them: `!a,b`."""

    texts: list[str]
    negated: bool = False

    @property
    def only(self) -> str | None:
        """The one text that is wanted, if it is one."""
        return self.texts[0] if len(self.texts) == 1 and not self.negated else None

    def allow(self, value: str, *, wild: bool) -> bool:
        """Whether this value is asked for; `wild`: `*` stands for anything."""
        return any(fnmatchcase(value, each) if wild else value == each for each in self.texts) is not self.negated


def words_in(asked: Mapping[str, str], name: str) -> Words | None:
    """The texts under a name, None where it is absent."""
    value = asked.get(name)
    if value is None:
        return None
    return Words(value.removeprefix(_NOT).split(","), value.startswith(_NOT))


def flag_in(asked: Mapping[str, str], name: str) -> bool | None:
    """True or false."""
    value = asked.get(name)
    if value is None:
        return None
    if value.lower() in _TRUE | _FALSE:
        return value.lower() in _TRUE
    raise bad_request(f"{name}: {value!r} is neither true nor false")


def number_in(asked: Mapping[str, str], name: str, default: int, most: int) -> int:
    """A whole number; what is less than 1 is 1, and more than the most is that, as Windmill has it."""
    value = asked.get(name)
    if value is None:
        return default
    digits = value.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 18):  # noqa: PLR2004 - a 64-bit number
        raise bad_request(f"{name}: {value!r} is not a whole number")
    return min(max(int(value), 1), most)


def time_in(asked: Mapping[str, str], name: str) -> int | None:
    """Epoch microseconds."""
    value = asked.get(name)
    if value is None:
        return None
    try:
        return epoch_us(datetime.fromisoformat(value.replace(" ", "+")))  # a plus that was not encoded comes as a space
    except (ValueError, OverflowError) as error:
        raise bad_request(f"{name}: {value!r} is no time: write 2026-01-02T03:04:05Z") from error


def json_in(asked: Mapping[str, str], name: str) -> tuple[Any] | None:
    """Any JSON value."""
    value = asked.get(name)
    if value is None:
        return None
    try:
        sought = parse_sought(value)
        return (sought.part if sought.is_json else msgspec.json.decode(value),)
    except (UserError, msgspec.DecodeError, UnicodeError) as error:
        raise bad_request(f"{name}: not JSON: {error}") from error
