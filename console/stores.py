"""What reads Redis step by step (shared by pages and commands) runs in threads, each with a connection of its own."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar

from shared.store import Store

Given = ParamSpec("Given")
Result = TypeVar("Result")

KEPT = 4
"""Connections that are kept for the next request."""


class Stores:
    """Runs functions that take a Store, beside the event loop."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._idle: deque[Store] = deque()

    async def run(
        self, function: Callable[Concatenate[Store, Given], Result], *args: Given.args, **kwargs: Given.kwargs
    ) -> Result:
        """What the function gives. Raises what it raises."""
        return await asyncio.to_thread(self._run, partial(_call, function, args, kwargs))

    def close(self) -> None:
        """Drop the connections that are idle."""
        while self._idle:
            self._idle.pop().close()

    def _run(self, function: Callable[[Store], Result]) -> Result:
        try:
            store = self._idle.pop()
        except IndexError:
            store = Store.connect(self._url)
        try:
            return function(store)
        finally:
            if len(self._idle) < KEPT:
                self._idle.append(store)
            else:
                store.close()


def _call(function: Callable[..., Result], args: Sequence[Any], kwargs: Mapping[str, Any], store: Store) -> Result:
    return function(store, *args, **kwargs)
