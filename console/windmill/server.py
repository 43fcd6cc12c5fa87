"""What clients ask of a server before they know who they are, and how it is doing."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from litestar import Response, Router, get

from console.answers import as_json, as_text
from console.described import described
from console.needs import needs
from console.windmill.identity import VERSION
from shared.errors import HeadraceError
from shared.run_record import iso_ms
from shared.scripts.operate import snapshot
from shared.store import AsyncStore

_UNAVAILABLE = 503
ANSWER_S: Final = 2.0
"""Redis answers within this time, or counts as away."""


@get("/version", opt=needs("nothing", any_host=True))
async def version() -> Response[str]:
    """The release of Windmill that these routes are those of."""
    return as_text(VERSION)


@get("/uptodate", opt=needs("nothing", any_host=True))
async def up_to_date() -> Response[str]:
    """Nobody is asked for a newer one."""
    return as_text("yes")


@get("/ee_license", opt=needs("nothing", any_host=True))
async def license_id() -> Response[str]:
    """There is none."""
    return as_text("")


@get("/health/status", opt=needs("nothing", any_host=True) | described(failing={503: "Redis does not answer."}))
async def health(store: AsyncStore) -> Response[bytes]:
    """Whether Redis answers, and how many workers live; 503 where it does not."""
    try:
        async with asyncio.timeout(ANSWER_S):
            found = await store.run(snapshot())
        alive, is_healthy = sum(worker.alive for worker in found.workers), True
    except (HeadraceError, TimeoutError):
        alive, is_healthy = 0, False
    said = "healthy" if is_healthy and alive else "degraded" if is_healthy else "unhealthy"
    state: dict[str, Any] = {
        "status": said,
        "checked_at": iso_ms(time.time_ns() // 1_000_000),
        "database_healthy": is_healthy,
        "workers_alive": alive,
    }
    return as_json(state, 200 if is_healthy else _UNAVAILABLE)


server_routes = Router("/", route_handlers=[version, up_to_date, license_id, health])
