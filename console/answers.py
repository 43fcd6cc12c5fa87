"""Answers as Windmill's clients want them: values as JSON, everything else as plain text."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import MediaType, Response
from litestar.status_codes import HTTP_200_OK, HTTP_201_CREATED


def as_json(value: Any, status: int = HTTP_200_OK) -> Response[bytes]:
    """Any JSON value, null included."""
    return Response(msgspec.json.encode(value), status_code=status, media_type=MediaType.JSON)


def as_text(text: str) -> Response[str]:
    """A text."""
    return Response(text, status_code=HTTP_200_OK, media_type=MediaType.TEXT)


def created(text: str) -> Response[str]:
    """A text that names what is there now."""
    return Response(text, status_code=HTTP_201_CREATED, media_type=MediaType.TEXT)
