"""JSON that a stranger has sent: read in one place, and never so deep that what comes after cannot follow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec
from litestar import Request
from litestar.datastructures import State

from console.errors import bad_request, unprocessable

LEVELS_MAX: Final = 100
"""As in files of a workspace."""

_User = TypeVar("_User")
_Auth = TypeVar("_Auth")


class StrangersRequest(Request[_User, _Auth, State]):
    """A request whose body is read so. A handler that needs nothing of its body gets none as an empty object."""

    async def json(self) -> Any:
        """The body's value. Raises Refusal (400)."""
        return read_json(await self.body())

    async def body(self) -> bytes:
        """The bytes. Raises Refusal (422) where a handler cannot do without and there are none."""
        body = await super().body()
        if body or (wanted := self.route_handler.parsed_data_field) is None:
            return body
        try:
            msgspec.convert({}, wanted.annotation)
        except msgspec.ValidationError as error:
            raise unprocessable("a JSON body is needed", hint=f"there was none: {error}") from error
        return b"{}"


def read_json(text: bytes | str, what: str = "the body is") -> Any:
    """Its value. `what` begins a sentence.

    Raises Refusal (400) for what is no JSON, and for more than LEVELS_MAX levels of lists and objects.
    """
    try:
        value = msgspec.json.decode(text)
    except RecursionError as error:
        raise _too_deep(what) from error
    except (msgspec.DecodeError, UnicodeError) as error:
        raise bad_request(f"{what} no JSON: {_reason(text, str(error))}") from error
    if _brackets(text) > LEVELS_MAX and _is_deeper(value, LEVELS_MAX):
        raise _too_deep(what)
    return value


def read_object(text: bytes | str, what: str = "the body is") -> dict[str, Any]:
    """The same for what has to be an object."""
    value = read_json(text, what)
    if not isinstance(value, dict):
        raise bad_request(f'{what} no JSON object: write {{"name": value}}')
    return value


def _brackets(text: bytes | str) -> int:
    """No more levels than these: a look that costs nothing."""
    return text.count("[") + text.count("{") if isinstance(text, str) else text.count(b"[") + text.count(b"{")


def _is_deeper(value: Any, levels: int) -> bool:
    level = [value]
    for _ in range(levels + 1):
        level = [each for each in level if isinstance(each, dict | list)]
        level = [each for one in level for each in (one.values() if isinstance(one, Mapping) else one)]
        if not level:
            return False
    return True


def _reason(text: bytes | str, said: str) -> str:
    """Where it is wrong. What only msgspec refuses is half of a surrogate pair, for it the end of the text."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return f"{error.msg[:1].lower()}{error.msg[1:]}, in line {error.lineno} at character {error.colno}"
    except (ValueError, RecursionError):
        return said
    return "it has an escape \\uD800 to \\uDFFF without its other half" if "truncated" in said else said


def _too_deep(what: str) -> Exception:
    return bad_request(f"{what} nested too deeply: {LEVELS_MAX} levels of lists and objects are taken")
