"""Captures: messages that a trigger would get, looked at before it is deployed. They are kept for a day.

While a client pings a configuration, ingest watches its topics, with a client id and a clean session of its own: a
trigger that is deployed loses nothing. One console process at a time keeps what comes.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, Literal

import msgspec

from console.api.trying import answers_of
from console.errors import bad_request
from console.windmill.bodies import checked
from shared import asking, keys
from shared.asking import Ask, Draft
from shared.definitions import Topic
from shared.errors import HeadraceError
from shared.events import emit
from shared.run_record import iso_ms
from shared.scripts.call import Arg
from shared.store import AsyncStore

KIND: Final = "mqtt"
LIFE_S: Final = 24 * 3600
KEPT: Final = 200
"""Of each runnable; older ones are forgotten."""
PINGED_S: Final = 10
LONGEST_S: Final = 600.0
SHOWN_BYTES: Final = 40_000
TOO_BIG: Final = "WINDMILL_TOO_BIG"
_LEASE_S: Final = 15
_LOOK_EVERY_S: Final = 1.0
_QOS: Final[Mapping[str, Literal[0, 1, 2]]] = {"qos0": 0, "qos1": 1, "qos2": 2}

RunnableKind = Literal["script", "flow"]


class TriedTopic(msgspec.Struct, frozen=True):
    """An entry of subscribe_topics, with a QoS or without."""

    topic: str
    qos: Literal["qos0", "qos1", "qos2"] = "qos0"


class Connection(msgspec.Struct, frozen=True):
    """What a connection needs of a trigger; the rest of its body is passed over."""

    mqtt_resource_path: str | None = None
    client_version: Literal["v3", "v5"] | None = None
    subscribe_topics: list[TriedTopic] | None = None


class Config(msgspec.Struct, frozen=True):
    """What is to be captured for a runnable, as Windmill's client has sent it; `error`: why it has stopped."""

    trigger_config: dict[str, Any]
    error: str | None = None


class Capture(msgspec.Struct, frozen=True):
    """A message that came: as `main` would get it, and as a preprocessor would."""

    id: int
    created_at: str
    kind: RunnableKind
    path: str
    main_args: Any
    preprocessor_args: Any


class Captures:
    """Of this process."""

    def __init__(self, store: AsyncStore) -> None:
        self._store = store
        self._tasks: set[asyncio.Task[None]] = set()

    async def set_config(self, kind: RunnableKind, path: str, wanted: dict[str, Any]) -> None:
        """Keep what is to be captured. Raises Refusal (400) for what cannot be."""
        read_draft(wanted)
        await self._keep(kind, path, Config(wanted))

    async def config(self, kind: RunnableKind, path: str) -> Config | None:
        """What was kept."""
        blob = await self._store.command("GET", keys.capture_config(kind, path))
        return None if blob is None else msgspec.json.decode(blob, type=Config)

    async def last_ping(self, kind: RunnableKind, path: str) -> int | None:
        """When it was pinged (epoch ms), if that is not long ago."""
        at = await self._store.command("GET", keys.capture_ping(kind, path))
        return None if at is None else int(at)

    async def ping(self, kind: RunnableKind, path: str) -> None:
        """Somebody looks: capture for another PINGED_S. Raises Refusal (400) without a configuration."""
        config = await self.config(kind, path)
        if config is None:
            raise bad_request(f"no capture is configured for {kind} {path}")
        now_ms = time.time_ns() // 1_000_000
        await self._store.command("SET", keys.capture_ping(kind, path), now_ms, "EX", PINGED_S)
        mine = secrets.token_hex(8)
        lease = keys.capture_lease(kind, path)
        if await self._store.command("SET", lease, mine, "NX", "EX", _LEASE_S) is not None:
            task = asyncio.create_task(self._watch(kind, path, config, lease))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def list(self, kind: RunnableKind, path: str) -> list[Capture]:
        """Those of a runnable, newest first."""
        ids = await self._store.command("LRANGE", keys.captures(kind, path), 0, KEPT - 1)
        blobs = await self._store.commands([("GET", keys.capture(int(each))) for each in ids])
        return [msgspec.json.decode(blob, type=Capture) for blob in blobs if blob is not None]

    async def get(self, capture_id: int) -> Capture | None:
        """One, in full."""
        blob = await self._store.command("GET", keys.capture(capture_id))
        return None if blob is None else msgspec.json.decode(blob, type=Capture)

    async def delete(self, capture: Capture) -> None:
        """Forget one."""
        await self._store.commands(
            [
                ("DEL", keys.capture(capture.id)),
                ("LREM", keys.captures(capture.kind, capture.path), 1, capture.id),
            ]
        )

    async def move(self, kind: RunnableKind, old: str, new: str) -> None:
        """Have them under another path."""
        for name in (keys.capture_config, keys.captures):
            if await self._store.command("EXISTS", name(kind, old)):
                await self._store.command("RENAME", name(kind, old), name(kind, new))
        found = [msgspec.structs.replace(each, path=new) for each in await self.list(kind, new)]
        await self._store.commands([_set(keys.capture(each.id), each) for each in found])

    async def _watch(self, kind: RunnableKind, path: str, config: Config, lease: str) -> None:
        """Keep what comes, as long as somebody looks; by another configuration from when there is one."""
        now: Config | None = config
        with suppress(HeadraceError):
            while now is not None and await self.last_ping(kind, path) is not None:
                now = await self._watch_by(now, kind, path, lease)
            await self._store.command("DEL", lease)

    async def _watch_by(self, config: Config, kind: RunnableKind, path: str, lease: str) -> Config | None:
        """The configuration by which to go on, None where it has ended: why stands there then, if that is an error."""
        keeping: asyncio.Task[str | None] | None = None
        now: Config | None = config
        try:
            ask = asking.new_ask("capture", draft=read_draft(config.trigger_config), seconds=LONGEST_S, count=10_000)
            keeping = asyncio.create_task(self._keep_all(kind, path, ask))
            while not keeping.done() and await self.last_ping(kind, path) is not None:
                now = await self.config(kind, path)
                if now is None or now.trigger_config != config.trigger_config:
                    return now
                await self._store.command("EXPIRE", lease, _LEASE_S)
                await asyncio.wait({keeping}, timeout=_LOOK_EVERY_S)
            problem = keeping.result() if keeping.done() else None
        except HeadraceError as error:
            problem = error.message
        finally:
            if keeping is not None:
                keeping.cancel()
                await asyncio.wait({keeping})
        if problem:
            await self._keep(kind, path, Config(config.trigger_config, problem))
        return None

    async def _keep_all(self, kind: RunnableKind, path: str, ask: Ask) -> str | None:
        """Why it has ended, where that is an error."""
        problem: str | None = None
        async for answer in answers_of(self._store, ask, LONGEST_S):
            if answer.kind == "error":
                problem = msgspec.json.decode(answer.value, type=str)
            elif answer.kind == "message":
                try:
                    await self._keep_message(kind, path, msgspec.json.decode(answer.value, type=dict[str, Any]))
                except HeadraceError as error:
                    emit("library.error", logger="console", text="a captured message is not kept", error=error)
        return problem

    async def _keep_message(self, kind: RunnableKind, path: str, message: dict[str, Any]) -> None:
        number = int(await self._store.command("INCR", keys.CAPTURE_NUMBER))
        event = message["event"] | {"trigger_path": path}
        if event.get("payload") is None:  # ingest has left it out, and says of what size it was
            event["payload"] = TOO_BIG
        main = message["main"] or {"payload": event["payload"]}
        at = iso_ms(time.time_ns() // 1_000_000)
        capture = Capture(number, at, kind, path, main, {"event": event})
        ids = keys.captures(kind, path)
        await self._store.commands(
            [
                _set(keys.capture(number), capture),
                ("LPUSH", ids, number),
                ("LTRIM", ids, 0, KEPT - 1),
                ("EXPIRE", ids, LIFE_S),
            ]
        )

    async def _keep(self, kind: RunnableKind, path: str, config: Config) -> None:
        await self._store.command(*_set(keys.capture_config(kind, path), config))


def read_draft(wanted: Mapping[str, Any]) -> Draft:
    """The trigger that a body of Windmill's describes, as far as a connection needs it. Raises Refusal (400, 422)."""
    found = checked(wanted, Connection)
    resource = (found.mqtt_resource_path or "").strip()
    if not resource:
        raise bad_request("MQTT resource path cannot be empty")
    topics = [Topic(each.topic, _QOS[each.qos]) for each in found.subscribe_topics or ()]
    return Draft(resource.removeprefix("$res:"), topics, found.client_version)


def shown(value: Any) -> Any:
    """A value in a list, unless it is too big for that."""
    return TOO_BIG if len(msgspec.json.encode(value)) > SHOWN_BYTES else value


def _set(key: str, value: Config | Capture) -> tuple[Arg, ...]:
    return ("SET", key, msgspec.json.encode(value), "EX", LIFE_S)
