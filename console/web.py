"""The application: which addresses there are, who is let in, what is answered to errors."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Litestar, Router
from litestar.connection import ASGIConnection
from litestar.datastructures import CacheControlHeader
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.middleware import DefineMiddleware
from litestar.static_files import create_static_files_router

from console.access import make_guard
from console.api import routes as api
from console.auditing import Auditing, provide_note
from console.authentication import Authentication, Authenticator
from console.blocking import Blocking
from console.callers import provide_caller
from console.errors import BODY_MAX, not_found, on_defect, on_error, on_http_error, on_too_deep
from console.headers import SecurityHeaders
from console.health import health_routes
from console.live import Live
from console.needs import needs, needs_of
from console.pages import login
from console.pages.routes import PAGES
from console.paging import provide_paging
from console.runs import Runs
from console.strangers import StrangersRequest
from console.view import STATIC, make_templates, provide_view, static_root
from console.windmill import routes as windmill
from console.windmill.bodies import provide_syncs
from console.windmill.captures import Captures
from console.windmill.job_updates import provide_wanted
from console.windmill.starting import provide_starter
from console.workspace import Workspace
from shared.config import Settings
from shared.errors import HeadraceError, InternalError
from shared.store import AsyncStore

_YEAR_S = 365 * 24 * 3600


class Tools(msgspec.Struct, frozen=True):
    """What handlers stand on, of one process."""

    store: AsyncStore
    work: Blocking
    content: Workspace
    live: Live


def make_app(tools: Tools, settings: Settings, token_key: bytes) -> Litestar:
    """All that the console serves. `token_key` is what runs' tokens are signed with.

    Raises InternalError for a route that does not say what it needs.
    """
    store, content = tools.store, tools.content
    auditing = Auditing(store, settings.retention.audit_max)
    authenticator, captures = Authenticator(store, settings, token_key), Captures(store)

    def in_our_workspace(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        if (name := connection.path_params["workspace"]) != content.name:
            raise not_found(f"there is no workspace {name} here, only {content.name}")

    in_workspace = Router(
        "/w/{workspace:str}",
        route_handlers=[*windmill.in_workspace, api.routes],
        guards=[in_our_workspace],
    )
    below_api = Router("/api", route_handlers=[*windmill.of_server, in_workspace])
    app = Litestar(
        [below_api, login.routes, *PAGES, _static_files(), *health_routes(store, settings, authenticator)],
        guards=[make_guard(settings.console)],
        dependencies={
            "authenticator": Provide(lambda: authenticator, sync_to_thread=False),
            "caller": Provide(provide_caller, sync_to_thread=False),
            "captures": Provide(lambda: captures, sync_to_thread=False),
            "content": Provide(lambda: content, sync_to_thread=False),
            "paging": Provide(provide_paging, sync_to_thread=False),
            "live": Provide(lambda: tools.live, sync_to_thread=False),
            "note": Provide(provide_note, sync_to_thread=False),
            "runs": Provide(lambda: Runs(store), sync_to_thread=False),
            "settings": Provide(lambda: settings, sync_to_thread=False),
            "starter": Provide(provide_starter, sync_to_thread=False),
            "store": Provide(lambda: store, sync_to_thread=False),
            "syncs": Provide(provide_syncs, sync_to_thread=False),
            "view": Provide(provide_view, sync_to_thread=False),
            "wanted": Provide(provide_wanted, sync_to_thread=False),
            "work": Provide(lambda: tools.work, sync_to_thread=False),
        },
        middleware=[DefineMiddleware(Authentication, authenticator=authenticator)],
        before_request=auditing.begin,
        before_send=[SecurityHeaders(settings), auditing],
        exception_handlers={
            HeadraceError: on_error,
            HTTPException: on_http_error,
            RecursionError: on_too_deep,
            Exception: on_defect,
        },
        template_config=make_templates(),
        logging_config=None,
        openapi_config=None,
        request_class=StrangersRequest,
        request_max_body_size=BODY_MAX,
    )
    for handler in handlers_of(app):
        if needs_of(handler.opt) is None:
            raise InternalError(f"the route {handler} does not say what it needs", hint="opt=needs(…)")
    return app


def handlers_of(app: Litestar) -> list[HTTPRouteHandler]:
    """Every handler that somebody can ask for something; the framework's own answers to OPTIONS are none."""
    return [
        handler
        for route in app.routes
        for handler in getattr(route, "route_handlers", ())
        if isinstance(handler, HTTPRouteHandler) and handler.http_methods != {"OPTIONS"}
    ]


def _static_files() -> Router:
    kept = CacheControlHeader(public=True, max_age=_YEAR_S, immutable=True)
    return create_static_files_router(static_root(), [STATIC], cache_control=kept, opt=needs("nothing", any_host=True))
