"""Whether a broker has a session, asked with a client that is not ours."""

from __future__ import annotations

import asyncio

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.support.ports import HOST

_ANSWER_S = 10.0


async def has_session(port: int, client_id: str) -> bool:
    """Resume it; what CONNACK says of it. It is as it was afterwards."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id, protocol=MQTTProtocolVersion.MQTTv5)
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[bool] = loop.create_future()

    def connected(_client: object, _data: object, flags: mqtt.ConnectFlags, *_more: object) -> None:
        loop.call_soon_threadsafe(answer.set_result, flags.session_present)

    client.on_connect = connected
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = 600
    client.connect(HOST, port, clean_start=False, properties=properties)
    client.loop_start()
    try:
        async with asyncio.timeout(_ANSWER_S):
            return await answer
    finally:
        client.disconnect()
        client.loop_stop()
