"""What is answered where something cannot be done: Windmill's clients read a status and a text."""

from __future__ import annotations

from typing import Any

from litestar import MediaType, Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.status_codes import (
    HTTP_400_BAD_REQUEST,
    HTTP_401_UNAUTHORIZED,
    HTTP_403_FORBIDDEN,
    HTTP_404_NOT_FOUND,
    HTTP_422_UNPROCESSABLE_ENTITY,
    HTTP_500_INTERNAL_SERVER_ERROR,
    HTTP_503_SERVICE_UNAVAILABLE,
)

from shared.errors import HeadraceError, SecretError, StoreUnavailable, UserError
from shared.events import emit

_BEGINNINGS = {
    HTTP_400_BAD_REQUEST: "Bad request",
    HTTP_401_UNAUTHORIZED: "Unauthorized",
    HTTP_403_FORBIDDEN: "Permission denied",
    HTTP_404_NOT_FOUND: "Not found",
}


class Refusal(UserError):
    """A request that is answered with this status and a text that begins as Windmill's does."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def bad_request(message: str) -> Refusal:
    """The request makes no sense as it stands."""
    return Refusal(HTTP_400_BAD_REQUEST, message)


def unauthorized(message: str) -> Refusal:
    """Nobody knows who asks."""
    return Refusal(HTTP_401_UNAUTHORIZED, message)


def forbidden(message: str) -> Refusal:
    """Who asks may not do this."""
    return Refusal(HTTP_403_FORBIDDEN, message)


def not_found(message: str) -> Refusal:
    """There is no such thing."""
    return Refusal(HTTP_404_NOT_FOUND, message)


def on_error(_request: Request[Any, Any, Any], error: HeadraceError) -> Response[str]:
    """Errors of ours."""
    match error:
        case Refusal():
            return _text(error.status, error.message)
        case StoreUnavailable():
            return _text(HTTP_503_SERVICE_UNAVAILABLE, error.message)
        case UserError() if not isinstance(error, SecretError):
            return _text(HTTP_400_BAD_REQUEST, str(error))
        case _:
            return _text(HTTP_500_INTERNAL_SERVER_ERROR, f"Internal: {error}")


def on_http_error(_request: Request[Any, Any, Any], error: HTTPException) -> Response[str]:
    """What the framework refuses: unknown addresses, methods, bodies that are not as they should be."""
    if isinstance(error, ValidationException):
        problems = [_problem(each) for each in error.extra or ()]
        in_body = any(isinstance(each, dict) and each.get("source") == "body" for each in error.extra or ())
        status = HTTP_422_UNPROCESSABLE_ENTITY if in_body else HTTP_400_BAD_REQUEST
        return _text(status, "; ".join(problems) or error.detail)
    what = "there is no such address" if error.status_code == HTTP_404_NOT_FOUND else error.detail
    return _text(error.status_code, what)


def on_defect(request: Request[Any, Any, Any], error: Exception) -> Response[str]:
    """Anything else is a defect: it is logged, and the answer does not show it."""
    emit("request.failed", method=request.method, path=request.url.path, error=error)
    return _text(HTTP_500_INTERNAL_SERVER_ERROR, "Internal: the request failed; the log of the console says why")


def _problem(found: object) -> str:
    if not isinstance(found, dict):
        return str(found)
    return f"{found.get('key', '')}: {found.get('message', '')}".removeprefix(": ")


def _text(status: int, message: str) -> Response[str]:
    beginning = _BEGINNINGS.get(status)
    return Response(f"{beginning}: {message}" if beginning else message, status_code=status, media_type=MediaType.TEXT)
