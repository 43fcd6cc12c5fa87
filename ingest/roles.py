"""Tasks of which each is done by one process at a time, whichever holds it; here, those that this process has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine
from typing import Any

from shared.events import emit
from shared.scripts.outgoing import role_hold, role_release
from shared.store import AsyncStore

Work = Callable[[str], Coroutine[Any, Any, None]]


class Roles:
    """The tasks of one kind, one for each path of a broker. `round` is to be called several times within `ttl_ms`.

    `name` gives the task's name in Redis, `work` does it until it is cancelled. One that fails starts again with the
    next round.
    """

    def __init__(self, store: AsyncStore, process: str, ttl_ms: int, name: Callable[[str], str], work: Work) -> None:
        self._store = store
        self._process = process
        self._ttl_ms = ttl_ms
        self._name = name
        self._work = work
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def ours(self) -> Collection[str]:
        """The paths whose task this process has."""
        return self._tasks.keys()

    async def round(self, wanted: Collection[str]) -> None:
        """Take what nobody does, keep what we have, stop where somebody else does it, or it is not wanted any more.

        Raises StoreUnavailable.
        """
        if gone := [path for path in self._tasks if path not in wanted]:
            await self._give_back(gone)
        paths = sorted(wanted)
        if not paths:
            return
        held = await self._store.run_many([role_hold(self._name(path), self._process, self._ttl_ms) for path in paths])
        for path, ours in zip(paths, held, strict=True):
            task = self._tasks.get(path)
            if task is not None and task.done() and not task.cancelled() and (error := task.exception()):
                text = f"{self._name(path)} failed and starts again"
                emit("library.error", logger="ingest", text=text, error=error)
            if ours and (task is None or task.done()):
                self._tasks[path] = asyncio.create_task(self._work(path))
            elif not ours and task is not None:
                task.cancel()
                del self._tasks[path]

    async def stop(self) -> None:
        """Stop all and give the tasks back. Raises StoreUnavailable."""
        await self._give_back(list(self._tasks))

    async def _give_back(self, paths: Collection[str]) -> None:
        tasks = [self._tasks.pop(path) for path in paths]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if tasks:
            await self._store.run_many([role_release(self._name(path), self._process) for path in paths])
