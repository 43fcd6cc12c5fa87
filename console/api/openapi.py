"""Our API, and Windmill's as it is here, described in OpenAPI 3.1: made from the routes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, get_args

import msgspec
from litestar import Litestar, Response, Router
from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.response import Stream

from console.described import ANYTHING, JSON_OBJECT, TEXT, Schema, described_of
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
_COMPONENTS: Final = "#/components/schemas/"
_JSON: Final = "application/json"
_PLAIN: Final = "text/plain"
_MADE: Final[Mapping[Any, tuple[str, Schema]]] = {str: (_PLAIN, TEXT), bytes: (_JSON, ANYTHING)}


class About(msgspec.Struct, frozen=True):
    """What a document is about, how its errors look, and what its handlers are given beside `_INJECTED`: by whom."""

    title: str
    description: str
    error_type: str
    error: Schema
    injected: Mapping[str, Provide] = {}


def our_document(routes: list[Router], workspace: str) -> dict[str, Any]:
    """Our API by these routers, as the console of this workspace serves it."""
    root = Router("/api/w/{workspace:str}/headrace", route_handlers=routes)
    about = About(
        "Headrace", "See every message's way, and steer it.", PROBLEM, {"$ref": f"{_COMPONENTS}Problem"}
    )  # fmt: skip
    return make_document(root, workspace, about, {"Problem": _PROBLEM_SCHEMA})


def windmill_document(
    of_server: list[Router], in_workspace: list[Router], workspace: str, injected: Mapping[str, Provide]
) -> dict[str, Any]:
    """Windmill's API as far as these routers answer it; `injected` are the providers that read the request."""
    root = Router("/api", route_handlers=[*of_server, Router("/w/{workspace:str}", route_handlers=in_workspace)])
    said = "Windmill's REST API, for its own clients, as far as it has a meaning in Headrace."
    return make_document(root, workspace, About("Headrace, as Windmill", said, _PLAIN, TEXT, injected), {})


def make_document(root: Router, workspace: str, about: About, schemas: Mapping[str, Schema]) -> dict[str, Any]:
    """The document for all that is below a router."""
    config = OpenAPIConfig(
        title=about.title,
        version="1",
        description=about.description,
        use_handler_docstrings=True,
        create_examples=False,
    )
    dependencies = {name: Provide(lambda: None, sync_to_thread=False) for name in _INJECTED} | dict(about.injected)
    app = Litestar([root], openapi_config=config, dependencies=dependencies, logging_config=None)
    document: dict[str, Any] = app.openapi_schema.to_schema()
    known = document.setdefault("components", {}).setdefault("schemas", {})
    known |= schemas
    document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    handlers = {(path, method.lower()): handler for path, method, handler in _handlers(app)}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for parameter in operation.get("parameters", ()):
                if parameter["name"] == "workspace":
                    parameter["schema"] = {"type": "string", "enum": [workspace]}
            if (handler := handlers.get((path, method))) is not None:
                _tell_needs(operation, handler)
                _tell_request(operation, handler, known)
                _tell_answers(operation, handler)
                _tell_refusals(operation, handler, method.upper(), about)
    return document


def _tell_needs(operation: dict[str, Any], handler: HTTPRouteHandler) -> None:
    """The scope."""
    wanted = needs_of(handler.opt)
    scope = wanted.scope if wanted else None
    if scope is not None:
        operation["x-scope"] = scope
        operation["security"] = [{"token": []}]
        operation["description"] = f"{operation.get('description', '')}\n\nNeeds the scope `{scope}`.".strip()


def _tell_request(operation: dict[str, Any], handler: HTTPRouteHandler, schemas: dict[str, Any]) -> None:
    """What the handler reads from the request itself."""
    said = described_of(handler.opt)
    parameters = operation.setdefault("parameters", [])
    parameters += [
        {"name": name, "in": "query", "required": False, "schema": dict(schema)} for name, schema in said.query.items()
    ]
    if said.body is not None:
        schema = dict(said.body) if isinstance(said.body, Mapping) else _schema_of(said.body, schemas)
        operation["requestBody"] = {"required": said.body_required, "content": {_JSON: {"schema": schema}}}


def _tell_answers(operation: dict[str, Any], handler: HTTPRouteHandler) -> None:
    """What an answer is that a handler makes itself: a text, JSON, or what it says of it."""
    said = described_of(handler.opt)
    usual = str(handler.status_code)
    responses = operation["responses"]
    if said.by_code:
        anything = {"content": {"*/*": {"schema": dict(ANYTHING)}}}
        responses.pop(usual, None)
        responses["200"] = {"description": "The result of the run."} | anything
        responses["default"] = {"description": "What the result says of itself, by its keys windmill_…"} | anything
    elif (made := _made_by(handler)) is not None or said.media_type:
        media_type, schema = made or ("", ANYTHING)
        shown = dict(schema if said.answer is None else said.answer)
        responses[usual]["content"] = {said.media_type or media_type: {"schema": shown}}


def _made_by(handler: HTTPRouteHandler) -> tuple[str, Schema] | None:
    """Media type and schema of a stream, or a Response of `console.answers`; None for what Litestar makes itself."""
    returned = handler.parsed_fn_signature.return_type
    if returned.is_subclass_of(Stream):
        return "text/event-stream", ANYTHING
    if not returned.is_subclass_of(Response):
        return None
    return _MADE.get(next(iter(get_args(returned.annotation)), None))


def _tell_refusals(operation: dict[str, Any], handler: HTTPRouteHandler, method: str, about: About) -> None:
    """How the route refuses."""
    said = described_of(handler.opt)
    usual = {
        status: text for status, text in _REFUSALS.items() if not (method in READING_METHODS and status in _BY_BODY)
    }
    for status, text in (usual | dict(said.refusals) | dict(said.failing)).items():
        content: dict[str, Any] = {about.error_type: {"schema": dict(about.error)}}
        if status in said.failing:
            content[_JSON] = {"schema": dict(JSON_OBJECT)}
        operation["responses"][str(status)] = {"description": text, "content": content}


def _schema_of(record: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    """A reference to a record, whose schema is put beside the others."""
    (schema,), components = msgspec.json.schema_components([record], ref_template=f"{_COMPONENTS}{{name}}")
    for name, each in components.items():
        schemas.setdefault(name, each)
    return dict(schema)


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
