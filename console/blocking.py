"""Work that waits for Redis on a connection that blocks, done by a few threads: what the commands do, for the console.

Each thread has a store of its own, which no other uses.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Concatenate, Final, ParamSpec, TypeVar

from shared.store import Store

THREADS: Final = 4

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Blocking:
    """The threads of one process."""

    def __init__(self, redis_url: str, threads: int = THREADS) -> None:
        self._url = redis_url
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="console")
        self._own = threading.local()
        self._stores: list[Store] = []

    async def __call__(self, work: Callable[Concatenate[Store, _P], _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Do this with a store as its first argument. Raises what it raises.

        When whoever asked goes away, it is carried out all the same.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: work(self._store(), *args, **kwargs))

    def close(self) -> None:
        """Wait for what is under way, and drop the connections."""
        self._executor.shutdown(cancel_futures=True)
        for store in self._stores:
            store.close()

    def _store(self) -> Store:
        store: Store | None = getattr(self._own, "store", None)
        if store is None:
            store = self._own.store = Store.connect(self._url)
            self._stores.append(store)
        return store
