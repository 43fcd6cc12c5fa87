"""Who asks: a run, known by its token, for as long as it is executed."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar.connection import ASGIConnection
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult
from litestar.types import ASGIApp

from console.errors import unauthorized
from shared import keys, run_tokens
from shared.store import AsyncStore

_SCHEME = "Bearer "


class Caller(msgspec.Struct, frozen=True):
    """A run that is being executed. It may read variables and resources, change them, start runs, and read and cancel
    itself and what it has started.
    """

    run_id: str

    @property
    def name(self) -> str:
        """For the history of deployments and for cancelled runs."""
        return f"run {self.run_id}"

    def may_see(self, run_id: str, parent: str | None, root: str | None) -> bool:
        """Whether a run is itself, or one that it started, or that this started in turn."""
        return self.run_id in {run_id, parent, root}


class TokenAuthentication(AbstractAuthenticationMiddleware):
    """Lets in whoever brings the token of a run that is being executed, and nobody else."""

    def __init__(self, app: ASGIApp, store: AsyncStore, key: bytes) -> None:
        super().__init__(app, exclude=[r"^/api/version$", r"^/(metrics|healthz|readyz)$"])
        self._store = store
        self._key = key

    async def authenticate_request(self, connection: ASGIConnection[Any, Any, Any, Any]) -> AuthenticationResult:
        """The caller. Raises Refusal (401), StoreUnavailable."""
        header = connection.headers.get("authorization", "")
        token = run_tokens.verify(self._key, header.removeprefix(_SCHEME)) if header.startswith(_SCHEME) else None
        if token is None:
            raise unauthorized("a run's token is needed, as Authorization: Bearer …")
        job = keys.job(token.run_id)
        state, execution = await self._store.command("HMGET", job, "state", "execution")
        if state != b"running" or execution != token.execution.encode():
            raise unauthorized(f"run {token.run_id} is not executed any more, and its token ended with it")
        return AuthenticationResult(user=Caller(token.run_id), auth=None)


def provide_caller(request: Any) -> Caller:
    """For handlers that name it."""
    caller: Caller = request.user
    return caller
