"""Bodies of requests as Windmill's clients send them: JSON objects that may hold more than is asked for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar

import msgspec
from litestar import Request

from console.errors import NOT_READ, unprocessable

T = TypeVar("T")
_ORIGIN: Final = "X-Windmill-Deploy-Origin"


def checked(body: Mapping[str, Any], kind: type[T]) -> T:
    """The body as a record; keys that it does not know are passed over. Raises Refusal (422)."""
    try:
        return msgspec.convert(dict(body), kind)
    except msgspec.ValidationError as error:
        raise unprocessable(f"{NOT_READ}: {error}") from error


def without(body: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """The body without these keys."""
    left_out = frozenset(keys)
    return {key: value for key, value in body.items() if key not in left_out}


def without_nulls(value: Any) -> Any:
    """The value without the keys, at whatever depth, whose value is null."""
    match value:
        case dict():
            return {key: without_nulls(each) for key, each in value.items() if each is not None}
        case list():
            return [without_nulls(each) for each in value]
        case _:
            return value


def given(**fields: Any) -> dict[str, Any]:
    """The fields that are not None."""
    return {key: value for key, value in fields.items() if value is not None}


def provide_syncs(request: Request[Any, Any, Any]) -> bool:
    """For handlers that name `syncs`: whether `wmill sync` asks, which deletes what is named before what names it."""
    return bool(request.headers.get(_ORIGIN) == "sync")
