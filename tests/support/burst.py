"""A burst of messages from a client that is not ours (paho), each confirmed by the broker."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

CONFIRM_S = 60.0
AT_ONCE = 10_000


class Publisher:
    """A connected paho client."""

    def __init__(self, port: int) -> None:
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.max_inflight_messages_set(50)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def publish(self, topic: str, payloads: Iterable[str], qos: int) -> int:
        """Publish each payload and wait until the broker has confirmed all; how many."""
        count = 0
        waiting = iter(payloads)
        while sent := [self._client.publish(topic, payload, qos=qos) for payload in islice(waiting, AT_ONCE)]:
            for message in sent:
                message.wait_for_publish(CONFIRM_S)
                if not message.is_published():
                    raise AssertionError(f"the broker did not confirm message {message.mid} in {CONFIRM_S} s")
            count += len(sent)
        return count

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()
