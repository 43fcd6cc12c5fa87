"""Trying a trigger at its broker: what it answers, and live messages. Done by ingest, which alone speaks MQTT."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final, Literal

import msgspec
from litestar import Router, get, post
from litestar.params import Parameter
from litestar.response import ServerSentEvent
from litestar.response.sse import ServerSentEventMessage

from console.blocking import Blocking
from console.callers import Caller
from console.edits import broker_of
from console.errors import forbidden, unavailable, unprocessable
from console.live import Live
from console.needs import needs
from console.workspace import Workspace
from shared import asking, keys
from shared.asking import Answer, Ask, Draft, Report
from shared.definitions import Topic
from shared.errors import UserError
from shared.modes import read_triggers
from shared.store import AsyncStore

SECONDS_MAX: Final = 600
TEST_S: Final = 40.0
TAKEN_S: Final = 10.0
_LOOK_EVERY_S: Final = 0.1
_RENEW_EVERY_S: Final = 5.0
_CLIENT_ID = Annotated[str, msgspec.Meta(max_length=200)] | None


class WantedDraft(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A trigger that is not deployed: the resource of its broker, its topics. `broker`: the value of a resource of type
    mqtt as its file has it, for one that is not deployed either.
    """

    resource: str = ""
    topics: list[Topic] = []
    client_version: Literal["v3", "v5"] | None = None
    broker: dict[str, Any] | None = None


class Test(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of a deployed trigger, or of a draft. `client_id` None: one that nobody else has."""

    trigger: str | None = None
    draft: WantedDraft | None = None
    client_id: _CLIENT_ID = None


@post("/triggers/test", opt=needs("operate", audited=False), status_code=200)
async def test(data: Test, store: AsyncStore, work: Blocking, content: Workspace, caller: Caller) -> Report:
    """Connect as a trigger would, subscribe each topic, and tell what the broker answers.

    With a client id and a clean session of its own: the deployed session is not touched.
    """
    if (data.trigger is None) == (data.draft is None):
        raise unprocessable("give either a trigger or a draft")
    if data.draft is not None and not caller.may("deploy"):
        raise forbidden("a draft is tried by those who may deploy it")
    if data.trigger is not None:
        await work(read_triggers, [data.trigger])
    draft = data.draft and content.sealed(_draft(data.draft))
    return await examined(store, asking.new_ask("test", trigger=data.trigger, draft=draft, client_id=data.client_id))


def _draft(wanted: WantedDraft) -> Draft:
    try:
        broker = None if wanted.broker is None else broker_of(wanted.resource, wanted.broker)
    except UserError as error:
        raise unprocessable(error.message, error.hint) from error
    return Draft(wanted.resource, wanted.topics, wanted.client_version, broker)


async def examined(store: AsyncStore, ask: Ask) -> Report:
    """What the broker answers. Raises Refusal (422 where it cannot be tried, 503 where no ingest process does it)."""
    problem = "ingest has not answered in time"
    async for answer in answers_of(store, ask, TEST_S):
        if answer.kind == "report":
            return msgspec.json.decode(answer.value, type=Report)
        if answer.kind == "error":
            problem = msgspec.json.decode(answer.value, type=str)
    raise unprocessable(problem)


@get("/triggers/capture/{path:path}", opt=needs("operate"))
async def capture(
    path: str,
    store: AsyncStore,
    work: Blocking,
    live: Live,
    seconds: Annotated[int, Parameter(ge=1, le=SECONDS_MAX)] = 60,
    count: Annotated[int, Parameter(ge=1, le=1000)] = 100,
) -> ServerSentEvent:
    """Live messages as the code of a trigger would get them: events `taken`, `message`, `error`, `end`.

    With a client id and a clean session of its own: the deployed session loses nothing. It ends with the connection.
    """
    await work(read_triggers, [path.strip("/")])
    live.check()
    ask = asking.new_ask("capture", trigger=path.strip("/"), seconds=float(seconds), count=count)
    return ServerSentEvent(_stream(store, ask, seconds, live))


async def _stream(store: AsyncStore, ask: Ask, seconds: float, live: Live) -> AsyncIterator[ServerSentEventMessage]:
    ended: Literal[True] | None = None
    with live.counted():
        try:
            async for answer in answers_of(store, ask, seconds + TAKEN_S, live):
                ended = True if answer.kind == "end" else ended
                yield ServerSentEventMessage(bytes(answer.value).decode(), event=answer.kind)
        except Exception as error:  # noqa: BLE001 - the answer has begun: its last event has to say it
            yield ServerSentEventMessage(msgspec.json.encode(str(error)).decode(), event="error")
        if not ended:
            yield ServerSentEventMessage("null", event="end")


async def answers_of(store: AsyncStore, ask: Ask, seconds: float, live: Live | None = None) -> AsyncIterator[Answer]:
    """Answers as they come, until the end, or so long. Raises Refusal (503) if no ingest process takes it up."""
    await store.commands(asking.ask_commands(ask))
    began = renewed = time.monotonic()
    after, is_taken = "0", False
    try:
        while (now := time.monotonic()) < began + seconds and not (live and live.is_closed):
            if now > renewed + _RENEW_EVERY_S:
                renewed = now
                await store.command(*asking.wanted_command(ask.id))
            for entry_id, fields in await store.command("XRANGE", keys.answers(ask.id), f"({after}", "+") or []:
                after, is_taken = entry_id.decode(), True
                answer = asking.read_answer(fields)
                yield answer
                if answer.kind == "end":
                    return
            if not is_taken and now > began + TAKEN_S:
                raise unavailable(f"no ingest process has answered within {TAKEN_S:g} s: is one running?")
            await asyncio.sleep(_LOOK_EVERY_S)
    finally:
        await store.commands([asking.unwanted_command(ask.id), ("DEL", keys.answers(ask.id))])


routes = Router("/", route_handlers=[test, capture])
