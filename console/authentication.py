"""Finds out who asks: by a run's token, by an API token, or by the cookie of a browser session."""

from __future__ import annotations

import hashlib
import time
from typing import Any, Final

from litestar.connection import ASGIConnection
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult
from litestar.types import ASGIApp

from console.callers import Caller, Nobody, Person, RunCaller
from console.errors import unauthorized
from console.needs import needs_of
from shared import browser_sessions, keys, run_tokens, tokens
from shared.config import Settings
from shared.store import AsyncStore

WINDMILLS_COOKIE: Final = "token"
"""In which `wmill` sends an API token now and then. Nothing here sets it, so no browser has it."""
BY_HEADER: Final = "header"
"""How a caller was known who brought a token with the request: no browser does that by itself."""
_SCHEME: Final = "bearer"
_USE_NOTED_EVERY_MS: Final = 60_000


class Authenticator:
    """Looks callers up. Notes the last use of a token about once a minute."""

    def __init__(self, store: AsyncStore, settings: Settings, run_key: bytes) -> None:
        self.cookie = cookie_name(settings)
        self._store = store
        self._run_key = run_key
        self._noted: dict[str, int] = {}

    async def by_token(self, text: str) -> Caller:
        """The caller with a token. Raises Refusal (401), StoreUnavailable."""
        if text.startswith(run_tokens.PREFIX):
            return await self._run(text)
        if (token := await self.token(text)) is None:
            raise unauthorized("the token is not known, has expired or was revoked")
        return Person(token.name, token.scope)

    async def token(self, text: str) -> tokens.Token | None:
        """The API token with this text, if it is good."""
        token_id = tokens.id_of(text)
        if token_id is None:
            return None
        token = tokens.read_token(await self._store.command(*tokens.token_command(token_id)))
        now_ms = time.time_ns() // 1_000_000
        if token is None or not tokens.is_its_text(token, text) or not token.is_good(now_ms):
            return None
        await self._note_use(token_id, now_ms)
        return token

    async def by_cookie(self, secret: str) -> Person | None:
        """Who is logged in with this cookie; None: nobody (any more)."""
        session = browser_sessions.read_session(await self._store.command(*browser_sessions.session_command(secret)))
        now_ms = time.time_ns() // 1_000_000
        if session is None or now_ms >= session.expires_at:
            return None
        if session.token:
            token = tokens.read_token(await self._store.command(*tokens.token_command(session.token)))
            if token is None or not token.is_good(now_ms):
                return None
            await self._note_use(token.id, now_ms)
        return Person(session.name, session.scope, csrf_of(secret))

    async def _run(self, text: str) -> RunCaller:
        token = run_tokens.verify(self._run_key, text)
        if token is None:
            raise unauthorized("the token is not one of this console's")
        state, execution = await self._store.command("HMGET", keys.job(token.run_id), "state", "execution")
        if state != b"running" or execution != token.execution.encode():
            raise unauthorized(f"run {token.run_id} is not executed any more, and its token ended with it")
        return RunCaller(token.run_id)

    async def _note_use(self, token_id: str, now_ms: int) -> None:
        if now_ms - self._noted.get(token_id, 0) >= _USE_NOTED_EVERY_MS:
            self._noted[token_id] = now_ms
            await self._store.command(*tokens.used_command(token_id, now_ms))


class Authentication(AbstractAuthenticationMiddleware):
    """Makes a caller of each request. Who brings nothing is nobody; who brings a token that is not good is refused."""

    def __init__(self, app: ASGIApp, authenticator: Authenticator) -> None:
        super().__init__(app, exclude=[r"^/static/", r"^/(metrics|healthz|readyz)$"])
        self._authenticator = authenticator

    async def authenticate_request(self, connection: ASGIConnection[Any, Any, Any, Any]) -> AuthenticationResult:
        """The caller; where nobody has to be known, nobody, whatever he says: Redis may be away there.

        Raises Refusal (401), StoreUnavailable.
        """
        wanted = needs_of(getattr(connection.scope.get("route_handler"), "opt", {}))
        if wanted is not None and wanted.scope is None and wanted.any_host:
            return AuthenticationResult(user=Nobody(), auth=None)
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() == _SCHEME:  # what a proxy in front may have asked for (Basic) is no matter of ours
            return AuthenticationResult(user=await self._authenticator.by_token(token.strip()), auth=BY_HEADER)
        secret = connection.cookies.get(self._authenticator.cookie, "")
        person: Caller | None = await self._authenticator.by_cookie(secret) if secret else None
        given = connection.cookies.get(WINDMILLS_COOKIE, "")
        if person is None and given.startswith(tokens.PREFIX):
            person = await self._authenticator.by_token(given)
        return AuthenticationResult(user=person or Nobody(), auth=None)


def is_secure(settings: Settings) -> bool:
    """Whether browsers reach the console by HTTPS."""
    return settings.console.url.startswith("https://")


def cookie_name(settings: Settings) -> str:
    """Of the session. The prefix has browsers refuse it from anybody but this very host, over HTTPS."""
    return "__Host-headrace" if is_secure(settings) else "headrace"


def csrf_of(secret: str) -> str:
    """What writes with the cookie of a session have to bring along: follows from it, and does not tell it."""
    return hashlib.blake2b(b"csrf", key=secret.encode()[:64], digest_size=24).hexdigest()
