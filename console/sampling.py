"""Takes the samples for the charts, in one process of all: whichever holds the lease."""

from __future__ import annotations

import asyncio
import secrets
import time

from console.blocking import Blocking
from shared import keys, samples
from shared.config import Settings
from shared.errors import HeadraceError
from shared.status import read_status
from shared.store import Store


async def take_samples(work: Blocking, settings: Settings) -> None:
    """Until cancelled. What Redis refuses, or its being away, leaves a gap."""
    holder, is_ours = secrets.token_hex(4), False
    while True:
        try:
            is_ours = await work(_step, settings.redis_url, holder, is_ours)
        except HeadraceError:
            is_ours = False
        await asyncio.sleep(samples.EVERY_S - time.time() % samples.EVERY_S)


def _step(store: Store, url: str, holder: str, is_ours: bool) -> bool:  # noqa: FBT001 - what the step before gave
    """One look; whether the lease is ours."""
    if is_ours:
        is_ours = store.command("GET", keys.SAMPLER) == holder.encode()
    if not is_ours and not store.command(*samples.lease_command(holder)):
        return False
    store.commands(samples.add_commands(samples.sample_of(read_status(store, url), time.time_ns() // 1_000_000)))
    return True
