"""`headrace publish` against real brokers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest

from tests.support.amqtt_broker import AmqttBroker
from tests.support.eventually import eventually
from tests.support.mosquitto import Mosquitto
from tests.support.ports import HOST, free_port
from tests.support.processes import HeadraceProcess

Publish = Callable[..., HeadraceProcess]


class Listener:
    """A client of somebody else's that has subscribed to everything."""

    def __init__(self, port: int, protocol: int = mqtt.MQTTv5) -> None:
        self.messages: list[mqtt.MQTTMessage] = []
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTProtocolVersion(protocol))
        subscribed: list[bool] = []
        self.client.on_message = lambda _client, _data, message: self.messages.append(message)
        self.client.on_subscribe = lambda *_: subscribed.append(True)
        self.client.connect(HOST, port)
        self.client.loop_start()
        eventually(self.client.is_connected)
        self.client.subscribe("#", 2)
        eventually(lambda: subscribed)

    def close(self) -> None:
        """Disconnect."""
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def publish(headrace: Publish) -> Publish:
    """Runs the command to its end."""

    def run(*arguments: str, **env: str) -> HeadraceProcess:
        process = headrace("publish", *arguments, **env)
        process.wait()
        return process

    return run


@pytest.fixture
def listener(mosquitto: Mosquitto) -> Iterator[Listener]:
    """Hears everything on the Mosquitto."""
    listener = Listener(mosquitto.port)
    yield listener
    listener.close()


@pytest.mark.parametrize("protocol", ["3", "5"])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_message_is_published_at_every_qos(
    protocol: str, qos: int, publish: Publish, mosquitto: Mosquitto, listener: Listener
) -> None:
    """And the command says what it knows of it."""
    done = publish("demo/x", "hello", "--qos", str(qos), "--protocol", protocol, "--broker", mosquitto.url)

    assert done.wait() == 0, done.output
    (message,) = eventually(lambda: listener.messages)
    assert (message.topic, message.payload, message.qos) == ("demo/x", b"hello", qos)
    assert ("the broker has it" in done.output) == (qos > 0)


def test_properties_retain_count_and_file(
    publish: Publish, mosquitto: Mosquitto, listener: Listener, tmp_path: Path
) -> None:
    """All options at once; the broker is the one of the settings."""
    (tmp_path / "body").write_bytes(b"\x00\xff")
    options = ["-f", "body", "--retain", "--count", "300", "--property", "a=1", "--property", "b=x=y", "--qos", "2"]
    done = publish("demo/x", *options, HEADRACE_BROKER=mosquitto.url)

    assert done.wait() == 0, done.output
    eventually(lambda: len(listener.messages) == 300)
    message = listener.messages[-1]
    assert message.payload == b"\x00\xff"
    assert message.properties is not None
    assert message.properties.UserProperty == [("a", "1"), ("b", "x=y")]
    late = Listener(mosquitto.port)
    assert eventually(lambda: late.messages)[0].retain
    late.close()


def test_a_payload_that_is_no_text_is_published_as_it_is(
    publish: Publish, mosquitto: Mosquitto, listener: Listener
) -> None:
    """An argument is bytes, of whatever encoding."""
    done = publish("demo/x", os.fsdecode(b"\xff\x80"), "--broker", mosquitto.url)

    assert done.wait() == 0, done.output
    (message,) = eventually(lambda: listener.messages)
    assert message.payload == b"\xff\x80"


def test_an_old_broker_gets_everything_before_the_command_ends(publish: Publish, amqtt: AmqttBroker) -> None:
    """It falls back to 3.1.1, and stays until the broker has passed the messages on."""
    listener = Listener(amqtt.port, mqtt.MQTTv311)
    done = publish("demo/x", "hello", "--count", "200", "--broker", f"mqtt://{HOST}:{amqtt.port}")

    assert done.wait() == 0, done.output
    assert "MQTT 3.1.1" in done.output
    eventually(lambda: len(listener.messages) == 200)
    listener.close()


def test_a_broker_that_is_not_there_is_an_error(publish: Publish) -> None:
    """Exit status 1, with what to do."""
    done = publish("demo/x", "hello", "--broker", f"mqtt://{HOST}:{free_port()}")

    assert done.wait() == 1
    assert "cannot be reached" in done.output
    assert "hint:" in done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["demo/+", "x"],
        ["demo/x"],
        ["demo/x", "x", "--qos", "3"],
        ["demo/x", "x", "--property", "a"],
        ["demo/x", "x", "--property", os.fsdecode(b"a=\xff")],
        ["demo/x", "x", "--property", f"a={'x' * 65_536}"],
        ["demo/x", "x", "--broker", "http://127.0.0.1"],
    ],
)
def test_wrong_usage_is_told_apart(arguments: list[str], publish: Publish) -> None:
    """Exit status 2, before any connection is made."""
    assert publish(*arguments).wait() == 2


def test_the_demo_publishes_until_it_is_stopped(headrace: Publish, mosquitto: Mosquitto) -> None:
    """It waits for its broker."""
    mosquitto.sigterm()
    demo = headrace("demo", HEADRACE_BROKER=mosquitto.url)
    eventually(lambda: "session.reconnecting" in demo.output)
    mosquitto.start()
    listener = Listener(mosquitto.port)
    topics = {"demo/attic/temperature", "demo/cellar/temperature", "demo/kitchen/temperature", "demo/hello"}
    eventually(lambda: {message.topic for message in listener.messages} == topics, 20)

    listener.close()
    assert demo.sigterm() == 0
    assert "Traceback" not in demo.output
