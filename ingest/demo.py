"""`headrace demo`: made-up readings, a few each second, for as long as it runs."""

from __future__ import annotations

import asyncio
import json
import math
import random
import time
from typing import NoReturn

from ingest.publisher import ConnectionLost, Message, Publisher, Refused
from ingest.transport import Unreachable, broker_url
from shared.backoff import full_jitter
from shared.definitions import Broker
from shared.events import emit

ROOMS = ("attic", "cellar", "kitchen")
_PERIOD_S = 0.5
_RETRY_MAX_S = 5.0
_HELLO_EVERY = 4


async def run_demo(broker: Broker, timeout_s: float) -> None:
    """Publish until cancelled. Waits for a broker that is not there, and comes back to one that goes away.

    Raises BrokerRejected and UnusableCertificate, which waiting does not mend.
    """
    attempt = 0
    while True:
        try:
            publisher = await Publisher.connect(broker, None, timeout_s)
            emit("process.ready", process="demo", broker=broker_url(broker))
            attempt = 0
            await _publish_readings(publisher)
        except (Unreachable, ConnectionLost, Refused) as error:
            attempt += 1
            if attempt == 1:
                emit("session.reconnecting", broker=broker_url(broker), reason=error.message, attempt=attempt)
            await asyncio.sleep(full_jitter(attempt, _PERIOD_S, _RETRY_MAX_S, random.random))


async def _publish_readings(publisher: Publisher) -> NoReturn:
    try:
        count = 0
        while True:
            count += 1
            await _publish_round(publisher, count)
            await asyncio.sleep(_PERIOD_S)
    finally:
        await publisher.close()


async def _publish_round(publisher: Publisher, count: int) -> None:
    room = ROOMS[count % len(ROOMS)]
    celsius = 20 + 3 * math.sin(time.time() / 60) + random.uniform(-0.2, 0.2)
    reading = json.dumps({"celsius": round(celsius, 2), "at": round(time.time(), 3)})
    await (await publisher.publish(Message(f"demo/{room}/temperature", reading.encode(), qos=1)))
    if count % _HELLO_EVERY == 0:
        await (await publisher.publish(Message("demo/hello", json.dumps({"n": count}).encode(), qos=2)))
