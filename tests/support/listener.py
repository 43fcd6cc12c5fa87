"""A client that is not ours, which notes what a broker delivers to it."""

from __future__ import annotations

from typing import Any, Self

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.support.eventually import eventually
from tests.support.ports import HOST


class Listener:
    """Subscribed to these filters at QoS 2 while it is open. Messages are paho's."""

    def __init__(self, port: int, *filters: str, version: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5) -> None:
        self.messages: list[mqtt.MQTTMessage] = []
        self._granted = 0
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=version)
        self._client.on_connect = lambda client, *_: client.subscribe([(each, 2) for each in filters])
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = lambda _client, _data, message: self.messages.append(message)
        self._client.reconnect_delay_set(1, 1)
        self._client.connect(HOST, port)
        self._client.loop_start()

    def __enter__(self) -> Self:
        """Wait until the broker has granted the subscription."""
        eventually(lambda: self._granted > 0)
        return self

    def __exit__(self, *_: object) -> None:
        """Leave."""
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def payloads(self) -> list[bytes]:
        """What came, in order."""
        return [bytes(message.payload) for message in self.messages]

    def on(self, topic: str) -> list[mqtt.MQTTMessage]:
        """What came on this topic."""
        return [message for message in self.messages if message.topic == topic]

    def _on_subscribe(self, *_: Any) -> None:
        self._granted += 1


def user_properties(message: mqtt.MQTTMessage) -> dict[str, str]:
    """Those of a message of MQTT 5."""
    return dict(getattr(message.properties, "UserProperty", []))
