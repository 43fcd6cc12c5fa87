"""What people write today, as the thing to compare with: paho-mqtt receives, Celery runs, Redis keeps the results.

Not imported by the bench: `end_to_end` copies it into an environment of its own that has celery and paho-mqtt.
`python celery_bridge.py MQTT_PORT TOPIC` is the bridge; `celery -A celery_bridge worker` is the worker. REDIS_URL names
broker and result backend of Celery.
"""

from __future__ import annotations

import os
import sys

import paho.mqtt.client as mqtt
from celery import Celery

app = Celery("bench", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
app.conf.update(worker_prefetch_multiplier=64, broker_connection_retry_on_startup=True, result_expires=3600)


@app.task(name="bench.no_op")
def no_op(payload: str) -> None:
    """The task: nothing."""
    del payload


def bridge(port: int, topic: str) -> None:
    """Each message becomes a task; it is acknowledged once Redis has the task (paho's manual acknowledgements)."""
    client = mqtt.Client(
        mqtt.CallbackAPIVersion.VERSION2, client_id="bench-bridge", protocol=mqtt.MQTTv5, manual_ack=True
    )

    def on_message(_client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        no_op.delay(message.payload.decode())
        client.ack(message.mid, message.qos)

    def on_subscribe(*_args: object) -> None:
        print("subscribed", flush=True)

    client.on_message = on_message
    client.on_subscribe = on_subscribe
    client.connect("127.0.0.1", port)
    client.subscribe(topic, qos=1)
    client.loop_forever()


if __name__ == "__main__":
    bridge(int(sys.argv[1]), sys.argv[2])
