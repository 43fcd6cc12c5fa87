"""What clients ask of a server before they know who they are, and how it is doing."""

from __future__ import annotations

import time
from typing import Any

from litestar import Response, Router, get

from console.answers import as_json, as_text
from console.blocking import Blocking
from console.described import described
from console.needs import needs
from console.windmill.identity import VERSION
from shared.config import Settings
from shared.errors import HeadraceError
from shared.run_record import iso_ms
from shared.status import read_status
from shared.store import Store

_UNAVAILABLE = 503


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
async def health(work: Blocking, settings: Settings) -> Response[bytes]:
    """Whether Redis answers, and how many workers live; 503 where it does not, or none does."""
    try:
        alive = await work(_workers_alive, settings.redis_url)
        is_healthy = True
    except HeadraceError:
        alive, is_healthy = 0, False
    said = "healthy" if is_healthy and alive else "degraded" if is_healthy else "unhealthy"
    found: dict[str, Any] = {
        "status": said,
        "checked_at": iso_ms(time.time_ns() // 1_000_000),
        "database_healthy": is_healthy,
        "workers_alive": alive,
    }
    return as_json(found, 200 if is_healthy else _UNAVAILABLE)


def _workers_alive(store: Store, url: str) -> int:
    return sum(worker.alive for worker in read_status(store, url).workers)


server_routes = Router("/", route_handlers=[version, up_to_date, license_id, health])
