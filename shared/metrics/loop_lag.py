"""How late an event loop comes to what is due."""

from __future__ import annotations

import asyncio

from shared.metrics.catalogue import LAG

EVERY_S = 1.0


async def watch_lag() -> None:
    """Measure it until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due_at = loop.time() + EVERY_S
        await asyncio.sleep(EVERY_S)
        LAG.of().observe(loop.time() - due_at)
