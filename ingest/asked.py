"""Serves what the console asks of ingest (`shared.asking`): tries connections, shows live messages."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing, suppress
from typing import Any, Final

import msgspec

from ingest import trying
from ingest.trying import Captured, Tried
from shared import asking, keys
from shared.asking import Ask
from shared.config import Settings
from shared.errors import HeadraceError, ScriptError, StoreUnavailable
from shared.events import emit
from shared.scripts.dispatch import retire_consumers
from shared.store import AsyncStore, Store

AT_ONCE: Final = 8
LONGEST_S: Final = 600.0
_BLOCK_MS: Final = 10_000
_RETIRE_IDLE_MS: Final = 60_000
_PAUSE_S: Final = 1.0
_LOOK_EVERY_S: Final = 2.0


class Asked:
    """Reads asks and carries out a few at a time; more than that are refused, so that sessions never suffer."""

    def __init__(self, settings: Settings, process: str) -> None:
        self._settings = settings
        self._name = process
        self._store = AsyncStore.connect(settings.redis_url)  # its own: it waits in Redis most of the time
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_group_there = False

    async def run(self) -> None:
        """Serve until cancelled. While Redis is away it waits: others report that."""
        try:
            while True:
                try:
                    await self._serve_some()
                except StoreUnavailable:
                    self._is_group_there = False
                    await asyncio.sleep(_PAUSE_S)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._store.close()

    async def _serve_some(self) -> None:
        if not self._is_group_there:
            with suppress(ScriptError):  # it is there already
                await self._store.command("XGROUP", "CREATE", keys.ASKS, asking.GROUP, "$", "MKSTREAM")
            await self._store.run(retire_consumers(_RETIRE_IDLE_MS, keys.ASKS, asking.GROUP))
            self._is_group_there = True
        reply = await self._store.command(
            "XREADGROUP", "GROUP", asking.GROUP, self._name, "COUNT", AT_ONCE, "BLOCK", _BLOCK_MS, "NOACK",
            "STREAMS", keys.ASKS, ">",
        )  # fmt: skip
        for _, entries in reply or []:
            for _, fields in entries:
                await self._take(fields)

    async def _take(self, fields: Any) -> None:
        try:
            ask = asking.read_ask(fields)
        except HeadraceError as error:
            emit("library.error", logger="ingest", text="an ask of the console is left out", error=error)
            return
        if len(self._tasks) >= AT_ONCE:
            await self._answer(ask, "error", f"ingest carries out {AT_ONCE} tests and captures already: try again")
            await self._answer(ask, "end")
            return
        task = asyncio.create_task(self._carry_out(ask))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry_out(self, ask: Ask) -> None:
        try:
            if not await self._is_wanted(ask):
                return
            await self._answer(ask, "taken")
            tried = await asyncio.to_thread(_look_up, self._settings, ask)
            if ask.kind == "test":
                await self._answer(ask, "report", await trying.examine(tried))
            else:
                await self._capture(ask, tried)
        except StoreUnavailable:
            return
        except HeadraceError as error:
            await self._end(ask, error.message)
        except OSError as error:
            await self._end(ask, str(error))
        except Exception as error:  # noqa: BLE001 - whoever asks waits for an answer, and the others go on
            emit("library.error", logger="ingest", text=f"a {ask.kind} for the console failed", error=error)
            await self._end(ask, f"it failed: {error}")
        else:
            await self._end(ask)

    async def _capture(self, ask: Ask, tried: Tried) -> None:
        """Messages until enough have come, the time is over, or nobody wants them any more."""
        seen = 0
        watching = asyncio.create_task(self._until_unwanted(ask))
        try:
            async with aclosing(trying.capture(tried)) as messages:  # type: ignore[type-var]
                while seen < ask.count:
                    coming = asyncio.ensure_future(anext(messages))
                    await asyncio.wait({coming, watching}, return_when=asyncio.FIRST_COMPLETED)
                    if not coming.done():
                        coming.cancel()
                        with suppress(asyncio.CancelledError, StopAsyncIteration):
                            await coming
                        return
                    await self._answer(ask, "message", _bounded(coming.result()))
                    seen += 1
        finally:
            watching.cancel()

    async def _until_unwanted(self, ask: Ask) -> None:
        end = time.monotonic() + min(ask.seconds, LONGEST_S)
        while (left := end - time.monotonic()) > 0 and await self._is_wanted(ask):  # noqa: ASYNC110 - Redis knows
            await asyncio.sleep(min(left, _LOOK_EVERY_S))

    async def _is_wanted(self, ask: Ask) -> bool:
        return bool(await self._store.command("EXISTS", keys.wanted(ask.id)))

    async def _answer(self, ask: Ask, kind: str, value: Any = None) -> None:
        await self._store.commands(asking.answer_commands(ask.id, kind, value))

    async def _end(self, ask: Ask, problem: str = "") -> None:
        with suppress(StoreUnavailable):
            if problem:
                await self._answer(ask, "error", problem)
            await self._answer(ask, "end")


def _bounded(message: Captured) -> Captured:
    """What is too large to be shown goes without its payload."""
    size = len(message.event["payload"])
    if size <= asking.ANSWER_BYTES:
        return message
    event = message.event | {"payload": None, "payload_too_large": size}
    return msgspec.structs.replace(message, main=None, event=event)


def _look_up(settings: Settings, ask: Ask) -> Tried:
    store = Store.connect(settings.redis_url)
    try:
        if ask.draft is not None:
            return trying.look_up_draft(store, settings, ask.draft, ask.client_id)
        return trying.look_up(store, settings, ask.trigger or "", ask.client_id)
    finally:
        store.close()
