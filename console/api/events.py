"""What is going on, as it happens."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
from litestar import Router, get
from litestar.response import ServerSentEvent
from litestar.response.sse import ServerSentEventMessage

from console.live import Live
from console.needs import needs


@get("/events", opt=needs("read"))
async def events(live: Live) -> ServerSentEvent:
    """Live events: `counters` (cells that changed), `backlog`, `session`, `worker`, `run` (new, or in another state).

    Told about once a second, while somebody listens. A stream ends after a quarter of an hour: open it again.
    """
    live.check()
    return ServerSentEvent(_messages(live))


async def _messages(live: Live) -> AsyncIterator[ServerSentEventMessage]:
    yield ServerSentEventMessage(None, comment="listening", retry=2000)
    async for event in live.listen():
        if event is None:
            yield ServerSentEventMessage(None, comment="")
        else:
            yield ServerSentEventMessage(msgspec.json.encode(event.data).decode(), event=event.kind)


routes = Router("/", route_handlers=[events])
