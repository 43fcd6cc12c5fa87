"""Our API described in OpenAPI 3.1, made from the routes; and served without anything from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from litestar import Litestar, Router
from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig

from console.errors import PROBLEM, READING_METHODS
from console.needs import needs_of

_INJECTED: Final = ("authenticator", "caller", "content", "live", "note", "runs", "settings", "store", "view", "work")
_REFUSALS: Final = {
    400: "The request makes no sense as it stands.",
    401: "No token, or one that is not good.",
    403: "The token has not the scope that is needed.",
    404: "There is no such thing.",
    409: "It is not in a state in which this can be done.",
    413: "The body is larger than is taken.",
    421: "The console was asked by a name that is not its own.",
    422: "The body can be read, and what it says cannot be done.",
    503: "Redis, or an ingest process, is away; or too many listen.",
}
_BY_BODY: Final = {409, 413, 422}


def make_document(routes: list[Router], workspace: str) -> dict[str, Any]:
    """The document for these routers, as the console of this workspace serves them."""
    api = Router("/api/w/{workspace:str}/headrace", route_handlers=routes)
    config = OpenAPIConfig(
        title="Headrace",
        version="1",
        description="See every message's way, and steer it.",
        use_handler_docstrings=True,
        create_examples=False,
    )
    app = Litestar([api], openapi_config=config, dependencies=_injected(), logging_config=None)
    document: dict[str, Any] = app.openapi_schema.to_schema()
    handlers = {(path, method.lower()): handler for path, method, handler in _handlers(app)}
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas["Problem"] = _PROBLEM_SCHEMA
    document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for parameter in operation.get("parameters", ()):
                if parameter["name"] == "workspace":
                    parameter["schema"] = {"type": "string", "enum": [workspace]}
            if (handler := handlers.get((path, method))) is not None:
                _complete(operation, method.upper(), handler)
    return document


def _complete(operation: dict[str, Any], method: str, handler: HTTPRouteHandler) -> None:
    """The scope that a route needs, and how it refuses."""
    wanted = needs_of(handler.opt)
    scope = wanted.scope if wanted else None
    if scope is not None:
        operation["x-scope"] = scope
        operation["security"] = [{"token": []}]
        operation["description"] = f"{operation.get('description', '')}\n\nNeeds the scope `{scope}`.".strip()
    responses = operation["responses"]
    for status, text in _REFUSALS.items():
        if method in READING_METHODS and status in _BY_BODY:
            continue
        schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
        responses[str(status)] = {"description": text, "content": {PROBLEM: schema}}


def _injected() -> dict[str, Provide]:
    """What handlers are given by the application, and is no parameter of theirs."""
    return {name: Provide(lambda: None, sync_to_thread=False) for name in _INJECTED}


def _handlers(app: Litestar) -> Iterator[tuple[str, str, HTTPRouteHandler]]:
    for route in app.routes:
        for handler in getattr(route, "route_handlers", ()):
            if isinstance(handler, HTTPRouteHandler):
                for method in handler.http_methods:
                    yield route.path_format, str(method), handler


_PROBLEM_SCHEMA: Final = {
    "type": "object",
    "title": "Problem",
    "description": "A problem document (RFC 9457).",
    "required": ["title", "status", "detail", "hint"],
    "properties": {
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong."},
        "hint": {"type": "string", "description": "How to mend it, where that is known."},
        "problems": {
            "type": "array",
            "description": "Each mistake in the files of a workspace.",
            "items": {
                "type": "object",
                "required": ["file", "line", "key", "message", "hint"],
                "properties": {
                    "file": {"type": "string"},
                    "line": {"type": "integer", "description": "Counted from 1; 0: the whole file."},
                    "key": {"type": "string"},
                    "message": {"type": "string"},
                    "hint": {"type": "string"},
                },
            },
        },
    },
}
