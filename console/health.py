"""/metrics, /healthz and /readyz of the console: what it measures of itself, and what Redis tells of the whole.

They are asked without a login. Where `metrics.token` is set, or the console listens to other machines, /metrics wants
that token, or an API token of the console: every scope includes `read`. The token of a run is none.
"""

from __future__ import annotations

import asyncio
from typing import Any

from litestar import MediaType, Request, Response, get
from litestar.handlers import HTTPRouteHandler

from console.authentication import Authenticator
from console.errors import unauthorized
from console.needs import needs
from shared import keys
from shared.config import Settings
from shared.config_keys import is_loopback
from shared.definitions import Trigger
from shared.deployment import Deployed, read_all_async
from shared.durability import CONFIG_COMMAND, judge, read_config
from shared.errors import HeadraceError, StoreUnavailable
from shared.metrics.catalogue import OUTAGES, READY
from shared.metrics.exposition import render
from shared.metrics.health import OK, is_authorized, liveness, readiness
from shared.metrics.installation import Facts, readings
from shared.metrics.instruments import Reading
from shared.scripts.operate import Snapshot, snapshot
from shared.store import AsyncStore

ANSWER_S = 5.0
"""Redis answers within this time, or counts as away: Prometheus waits for ten seconds."""


def health_routes(store: AsyncStore, settings: Settings, authenticator: Authenticator) -> list[HTTPRouteHandler]:
    """The handlers of the three addresses."""
    whole = _Installation(store)
    READY.read_by(lambda: float(not whole.is_away))

    async def may_look(header: str) -> bool:
        is_open = not settings.metrics.token and is_loopback(settings.console.host)
        if is_open or (settings.metrics.token and is_authorized(settings.metrics.token, header)):
            return True
        scheme, _, text = header.partition(" ")
        return scheme.lower() == "bearer" and await authenticator.token(text.strip()) is not None

    @get("/metrics", media_type=MediaType.TEXT, opt=needs("nothing", any_host=True))
    async def metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Prometheus' text. Raises Refusal (401); StoreUnavailable, where an API token cannot be looked up."""
        if not await may_look(request.headers.get("authorization", "")):
            raise unauthorized(
                "the token of the setting metrics.token is needed, or one that `headrace token create` makes, "
                "as Authorization: Bearer …"
            )
        told = await whole.readings()
        # Rendering takes tens of milliseconds where there are many triggers: not in the event loop.
        body, content_type = await asyncio.to_thread(render, "console", told, request.headers.get("accept", ""))
        if content_type.startswith("text/"):  # the framework adds the character set of what is text
            content_type = content_type.removesuffix("; charset=utf-8")
        return Response(body, status_code=OK, media_type=content_type)

    @get("/healthz", opt=needs("nothing", any_host=True))
    async def healthz() -> Response[bytes]:
        """Who answers, lives."""
        return Response(liveness("console"), media_type=MediaType.JSON)

    @get("/readyz", opt=needs("nothing", any_host=True))
    async def readyz() -> Response[bytes]:
        """Whether Redis answers: all that the console serves comes from there."""
        status, body = readiness("console", await whole.not_ready())
        return Response(body, status_code=status, media_type=MediaType.JSON)

    return [metrics, healthz, readyz]


class _Installation:
    """The whole, as Redis tells of it. Triggers are read once for each version, which never changes."""

    def __init__(self, store: AsyncStore) -> None:
        self.is_away = False
        self._store = store
        self._versions: dict[str, str] = {}
        self._triggers: dict[str, Trigger] = {}

    async def readings(self) -> list[Reading]:
        try:
            async with asyncio.timeout(ANSWER_S):
                found = await self._store.run(snapshot())
                facts = await self._facts(found)
        except (HeadraceError, TimeoutError):
            self._went(away=True)
            return readings(None, None)
        self._went(away=False)
        return readings(found, facts)

    async def not_ready(self) -> list[str]:
        try:
            async with asyncio.timeout(ANSWER_S):
                await self._store.command("PING")
        except (HeadraceError, TimeoutError) as error:
            self._went(away=True)
            return [error.message if isinstance(error, HeadraceError) else f"Redis has not answered in {ANSWER_S:g} s"]
        self._went(away=False)
        return []

    def _went(self, *, away: bool) -> None:
        if away and not self.is_away:
            OUTAGES.of().add()
        self.is_away = away

    async def _facts(self, found: Snapshot) -> Facts:
        versions = Deployed(0, found.deployed).of_kind("trigger")
        changed = {path: version for path, version in versions.items() if self._versions.get(path) != version}
        read = await read_all_async(self._store, changed, Trigger)
        known = {path: each for path, each in self._triggers.items() if path in versions and path not in changed}
        self._triggers, self._versions = known | read, versions
        scheduled, handlers = await self._store.commands(
            [("ZCARD", keys.RQ_SCHEDULED), ("LLEN", keys.HANDLERS)]
        )  # fmt: skip
        return Facts(self._triggers, await self._pending(), scheduled, handlers, await self._durability())

    async def _pending(self) -> int:
        try:
            return int((await self._store.command("XPENDING", keys.INBOX, keys.GROUP))["pending"])
        except HeadraceError:  # there is no inbox yet
            return 0

    async def _durability(self) -> str:
        try:
            return judge(read_config(await self._store.command(*CONFIG_COMMAND))).level
        except StoreUnavailable:
            raise
        except HeadraceError:
            return "unknown"
