"""The application: which addresses there are, who is let in, what is answered to errors."""

from __future__ import annotations

from typing import Any

from litestar import Litestar, Router
from litestar.connection import ASGIConnection
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler
from litestar.middleware import DefineMiddleware

from console.callers import TokenAuthentication, provide_caller
from console.errors import not_found, on_defect, on_error, on_http_error
from console.health import health_routes
from console.runs import Runs
from console.windmill import jobs, resources, users, variables
from console.workspace import Workspace
from shared.config import MIB, Settings
from shared.errors import HeadraceError
from shared.store import AsyncStore

BODY_MAX = 16 * MIB


def make_app(store: AsyncStore, content: Workspace, settings: Settings, token_key: bytes) -> Litestar:
    """All that the console serves. `token_key` is what runs' tokens are signed with."""

    def in_our_workspace(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        if (name := connection.path_params["workspace"]) != content.name:
            raise not_found(f"there is no workspace {name} here, only {content.name}")

    in_workspace = Router(
        "/w/{workspace:str}",
        route_handlers=[variables.routes, resources.routes, jobs.routes, users.routes],
        guards=[in_our_workspace],
    )
    return Litestar(
        [Router("/api", route_handlers=[users.server_routes, in_workspace]), *health_routes(store, settings)],
        dependencies={
            "caller": Provide(provide_caller, sync_to_thread=False),
            "content": Provide(lambda: content, sync_to_thread=False),
            "runs": Provide(lambda: Runs(store), sync_to_thread=False),
            "settings": Provide(lambda: settings, sync_to_thread=False),
        },
        middleware=[DefineMiddleware(TokenAuthentication, store=store, key=token_key)],
        exception_handlers={HeadraceError: on_error, HTTPException: on_http_error, Exception: on_defect},
        logging_config=None,
        openapi_config=None,
        request_max_body_size=BODY_MAX,
    )
