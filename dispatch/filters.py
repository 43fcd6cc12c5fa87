"""Which messages a trigger wants by what is in them: pure. Windmill's `filters`, as it has them on other triggers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from shared.definitions import Filter

_decode = msgspec.json.Decoder().decode


class NotJson(Exception):
    """The payload is not JSON."""


class PayloadFilter:
    """The filters of a trigger, joined by its logic."""

    def __init__(self, filters: Sequence[Filter], logic: Literal["and", "or"]) -> None:
        self._filters = filters
        self._all = logic == "and"

    def wants(self, payload: bytes) -> bool:
        """Whether the filters let a message pass. One that is not a JSON object matches no filter."""
        try:
            value = decode_json(payload)
        except NotJson:
            return False
        if type(value) is not dict:
            return False
        found = (each.key in value and contains(value[each.key], each.value) for each in self._filters)
        try:
            return all(found) if self._all else any(found)
        except RecursionError:  # of the filter's own depth
            return False


def decode_json(payload: bytes) -> Any:
    """The payload's value; raises NotJson, also where it is nested too deeply to be read."""
    try:
        return _decode(payload)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise NotJson from error


def contains(value: Any, wanted: Any) -> bool:
    """Whether a value of JSON contains another: an object has each key of the other with a value that contains the
    other's; an array has for each element of the other one that contains it; anything else is equal, 1 to 1.0 too.
    """
    if type(wanted) is dict:
        return type(value) is dict and all(key in value and contains(value[key], wanted[key]) for key in wanted)
    if type(wanted) is list:
        return type(value) is list and all(any(contains(item, each) for item in value) for each in wanted)
    if type(wanted) is bool or type(value) is bool:
        return value is wanted
    return bool(value == wanted)
