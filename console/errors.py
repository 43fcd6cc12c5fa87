"""What is answered where something cannot be done.

Below `/api` Windmill's clients read a status and a text, and so do those who ask for health and metrics; below
`/api/w/…/headrace` it is a problem document (RFC 9457); elsewhere it is a page, and who is not known is sent to log in.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import quote

import msgspec
from litestar import MediaType, Request, Response, status_codes
from litestar.exceptions import HTTPException, ValidationException
from litestar.response import Redirect, Template
from litestar.status_codes import (
    HTTP_303_SEE_OTHER,
    HTTP_400_BAD_REQUEST,
    HTTP_401_UNAUTHORIZED,
    HTTP_403_FORBIDDEN,
    HTTP_404_NOT_FOUND,
    HTTP_409_CONFLICT,
    HTTP_413_REQUEST_ENTITY_TOO_LARGE,
    HTTP_421_MISDIRECTED_REQUEST,
    HTTP_422_UNPROCESSABLE_ENTITY,
    HTTP_429_TOO_MANY_REQUESTS,
    HTTP_500_INTERNAL_SERVER_ERROR,
    HTTP_503_SERVICE_UNAVAILABLE,
)

from shared.config import MIB
from shared.errors import (
    HeadraceError,
    NotThere,
    Overtaken,
    SecretError,
    StoreUnavailable,
    UserError,
    WorkspaceError,
)
from shared.events import emit

BODY_MAX: Final = 16 * MIB
"""Bytes of a request's body."""
PROBLEM: Final = "application/problem+json"
READING_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
NOT_READ: Final = "Failed to deserialize the JSON body into the target type"
"""As Windmill's errors begin."""
_OURS = re.compile(r"/api/w/[^/]*/headrace(/|$)")
_MACHINES = re.compile(r"/(api(/|$)|metrics$|healthz$|readyz$)")
_BEGINNINGS = {
    HTTP_400_BAD_REQUEST: "Bad request",
    HTTP_401_UNAUTHORIZED: "Unauthorized",
    HTTP_403_FORBIDDEN: "Permission denied",
    HTTP_404_NOT_FOUND: "Not found",
}
_IN_BODY: Final = "$.data."


class Refusal(UserError):
    """A request that is answered with this status and a text that begins as Windmill's does."""

    def __init__(self, status: int, message: str, *, hint: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.headers = headers or {}


class Problem(msgspec.Struct, frozen=True):
    """A problem document: `title` names the status, `detail` says what is wrong, `hint` how to mend it. `problems` are
    the mistakes in the files of a workspace, each with file, line and key.
    """

    title: str
    status: int
    detail: str
    hint: str = ""
    problems: list[Any] | msgspec.UnsetType = msgspec.UNSET


def bad_request(message: str) -> Refusal:
    """The request makes no sense as it stands."""
    return Refusal(HTTP_400_BAD_REQUEST, message)


def unauthorized(message: str) -> Refusal:
    """Nobody knows who asks."""
    return Refusal(HTTP_401_UNAUTHORIZED, message, headers={"WWW-Authenticate": "Bearer"})


def forbidden(message: str) -> Refusal:
    """Who asks may not do this."""
    return Refusal(HTTP_403_FORBIDDEN, message)


def not_found(message: str) -> Refusal:
    """There is no such thing."""
    return Refusal(HTTP_404_NOT_FOUND, message)


def conflict(message: str) -> Refusal:
    """It is not in a state in which this can be done."""
    return Refusal(HTTP_409_CONFLICT, message)


def too_large(message: str) -> Refusal:
    """The body is more than is taken."""
    return Refusal(HTTP_413_REQUEST_ENTITY_TOO_LARGE, message)


def misdirected(message: str) -> Refusal:
    """The console was asked by a name that is not its own."""
    return Refusal(HTTP_421_MISDIRECTED_REQUEST, message)


def unprocessable(message: str, hint: str = "") -> Refusal:
    """The body can be read, and what it asks for cannot be done."""
    return Refusal(HTTP_422_UNPROCESSABLE_ENTITY, message, hint=hint)


def too_many(message: str, retry_after_s: int) -> Refusal:
    """Not now, but later."""
    return Refusal(HTTP_429_TOO_MANY_REQUESTS, message, headers={"Retry-After": str(retry_after_s)})


def unavailable(message: str) -> Refusal:
    """Something that is needed is away."""
    return Refusal(HTTP_503_SERVICE_UNAVAILABLE, message)


def on_error(request: Request[Any, Any, Any], error: HeadraceError) -> Response[Any]:
    """Errors of ours."""
    if isinstance(error, Refusal):
        return _answer(request, error.status, error.message, error.hint, error.headers)
    status = _status_of(error, for_us=is_ours(request.url.path))
    if status == HTTP_500_INTERNAL_SERVER_ERROR:
        emit("request.failed", method=request.method, path=request.url.path, error=error)
        return _answer(request, status, f"Internal: {error}")
    return _answer(request, status, error.message, error.hint, problems=error.fields.get("problems"))


def is_ours(path: str) -> bool:
    """Whether an address is one of our own API."""
    return _OURS.match(path) is not None


def _status_of(error: HeadraceError, *, for_us: bool) -> int:
    match error:
        case StoreUnavailable():
            status = HTTP_503_SERVICE_UNAVAILABLE
        case NotThere():
            status = HTTP_404_NOT_FOUND
        case Overtaken():
            status = HTTP_409_CONFLICT
        case WorkspaceError() if for_us:
            status = HTTP_422_UNPROCESSABLE_ENTITY
        case SecretError() if for_us:
            status = HTTP_409_CONFLICT
        case UserError() if not isinstance(error, SecretError):
            status = HTTP_400_BAD_REQUEST
        case _:
            status = HTTP_500_INTERNAL_SERVER_ERROR
    return status


def on_http_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    """What the framework refuses: unknown addresses, methods, bodies that are not as they should be."""
    if isinstance(error, ValidationException):
        problems = [_problem(each) for each in error.extra or ()]
        in_body = any(isinstance(each, dict) and each.get("source") == "body" for each in error.extra or ())
        status = HTTP_422_UNPROCESSABLE_ENTITY if in_body else HTTP_400_BAD_REQUEST
        said = "; ".join(problems) or error.detail
        is_theirs = in_body and not _OURS.match(request.url.path)
        return _answer(request, status, f"{NOT_READ}: {said}" if is_theirs else said)
    if error.status_code >= HTTP_500_INTERNAL_SERVER_ERROR:
        cause = error.__cause__  # a key of the body that is named as a tool of ours is taken for the tool
        if isinstance(cause, msgspec.ValidationError) and _IN_BODY in str(cause):
            said = str(cause).replace(_IN_BODY, "$.")
            is_ours = _OURS.match(request.url.path)
            return _answer(request, HTTP_422_UNPROCESSABLE_ENTITY, said if is_ours else f"{NOT_READ}: {said}")
        return on_defect(request, error)
    headers = dict(error.headers or {})
    return _answer(request, error.status_code, _words(request, error, headers), headers=headers)


def _words(request: Request[Any, Any, Any], error: HTTPException, headers: dict[str, str]) -> str:
    match error.status_code:
        case status_codes.HTTP_404_NOT_FOUND:
            return "there is no such address"
        case status_codes.HTTP_405_METHOD_NOT_ALLOWED:
            return f"{request.method} is nothing that can be done here: it takes {headers.get('allow', 'others')}"
        case status_codes.HTTP_413_REQUEST_ENTITY_TOO_LARGE:
            return f"the body is too large: {BODY_MAX // MIB} MiB are taken"
        case _:
            return error.detail


def on_too_deep(request: Request[Any, Any, Any], error: RecursionError) -> Response[Any]:
    """JSON within JSON, thousands of levels deep, that was read elsewhere than `console.strangers` reads bodies."""
    del error
    return _answer(request, HTTP_400_BAD_REQUEST, "the JSON is nested too deeply")


def on_defect(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Anything else is a defect: it is logged, and the answer does not show it."""
    emit("request.failed", method=request.method, path=request.url.path, error=error)
    return _answer(
        request, HTTP_500_INTERNAL_SERVER_ERROR, "Internal: the request failed; the log of the console says why"
    )


def _problem(found: object) -> str:
    if not isinstance(found, dict):
        return str(found)
    return f"{found.get('key', '')}: {found.get('message', '')}".removeprefix(": ")


def _answer(
    request: Request[Any, Any, Any],
    status: int,
    message: str,
    hint: str = "",
    headers: dict[str, str] | None = None,
    problems: object = None,
) -> Response[Any]:
    path = request.url.path
    if _OURS.match(path):
        mistakes = problems if isinstance(problems, list) else msgspec.UNSET
        problem = msgspec.json.encode(Problem(_title(status), status, message, hint, mistakes))
        return Response(problem, status_code=status, media_type=PROBLEM, headers=headers)
    if _MACHINES.match(path):
        beginning = _BEGINNINGS.get(status)
        said = f"{message}\n  hint: {hint}" if hint else message
        text = f"{beginning}: {said}" if beginning else said
        return Response(text, status_code=status, media_type=MediaType.TEXT, headers=headers)
    return _page(request, status, message, hint, headers)


def _page(
    request: Request[Any, Any, Any], status: int, message: str, hint: str, headers: dict[str, str] | None
) -> Response[Any]:
    if status == HTTP_401_UNAUTHORIZED:
        return Redirect(f"/login?next={quote(_address(request))}", status_code=HTTP_303_SEE_OTHER)
    context: dict[str, Any] = {"title": _title(status), "status": status, "message": message, "hint": hint}
    caller: Any = request.scope.get("user")  # nobody and runs have no session
    if getattr(caller, "csrf", ""):
        context |= {"caller": caller, "is_known": True, "csrf": caller.csrf, "may": caller.may}
    return Template("error.html", context=context, status_code=status, media_type=MediaType.HTML, headers=headers)


def _address(request: Request[Any, Any, Any]) -> str:
    query = request.url.query
    return f"{request.url.path}?{query}" if query and request.method == "GET" else request.url.path


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
