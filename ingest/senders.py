"""Which outboxes this process sends from: each broker's is one process' task at a time."""

from __future__ import annotations

import asyncio

from ingest.deployments import Deployments
from ingest.sender import Sender
from shared import keys
from shared.config import Settings
from shared.events import emit
from shared.scripts.outgoing import role_hold, role_release
from shared.store import AsyncStore


class Senders:
    """The senders of one process. `round` is to be called several times within the lease time."""

    def __init__(self, store: AsyncStore, deployments: Deployments, settings: Settings, process: str) -> None:
        self._store = store
        self._deployments = deployments
        self._settings = settings
        self._process = process
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def round(self) -> None:
        """Take what nobody sends from, keep what we have, stop where somebody else does. Raises StoreUnavailable."""
        brokers = sorted(each.decode() for each in await self._store.command("SMEMBERS", keys.OUTBOXES))
        if not brokers:
            return
        ttl_ms = self._settings.ingest.lease_ttl_ms
        held = await self._store.run_many([role_hold(keys.sending(path), self._process, ttl_ms) for path in brokers])
        for path, ours in zip(brokers, held, strict=True):
            task = self._tasks.get(path)
            if task is not None and task.done() and not task.cancelled() and (error := task.exception()):
                text = f"sending to {path} failed and starts again"
                emit("library.error", logger="ingest", text=text, error=error)
            if ours and (task is None or task.done()):
                sender = Sender(path, self._store, self._deployments, self._settings)
                self._tasks[path] = asyncio.create_task(sender.run())
            elif not ours and task is not None:
                task.cancel()
                del self._tasks[path]

    async def stop(self) -> None:
        """Stop sending and give the tasks back. Raises StoreUnavailable."""
        tasks, self._tasks = self._tasks, {}
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
        if tasks:
            await self._store.run_many([role_release(keys.sending(path), self._process) for path in tasks])
