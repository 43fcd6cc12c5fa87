"""What runs publish, from the code to another client: through every process of the pipeline and a real broker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from shared.store import Store
from tests.support.eventually import eventually
from tests.support.factories import counters
from tests.support.ingest import send
from tests.support.listener import Listener, user_properties
from tests.support.mosquitto import Mosquitto
from tests.support.pipeline import Pipeline
from tests.support.valkey import ValkeyServer
from tests.support.workspaces import trigger_yaml, write_workspace

SCRIPTS = {
    "alarm": """
        import headrace

        def main(payload: bytes):
            headrace.publish("alarm/text", payload)
            headrace.publish("alarm/json", {"level": 3, "text": "über"}, qos=0)
            headrace.publish("alarm/full", "x", retain=True, content_type="text/x", response_topic="alarm/answer",
                             correlation_data=b"\\x00\\x01", user_properties=[("a", "1"), ("a", "2")], expires_in_s=60)
            if payload == b"fail":
                raise ValueError("nothing of this may be published")
            if payload == b"declare":
                return {"wm_failure": "nor of this"}
        """,
    "echo": """
        import headrace

        def main(payload: bytes):
            headrace.publish(headrace.run.topic, payload + b"!")
        """,
    "answer": "def main(payload: bytes):\n    if payload == b'fail':\n        raise ValueError('no')\n"
    "    return {'asked': payload.decode()}\n",
    "replies": """
        import headrace

        def main(payload: bytes):
            headrace.reply(payload.upper(), topic="asked/without")
            return "not the answer"
        """,
    "wrong": """
        import headrace

        def main(payload: bytes):
            said = []
            for call in (
                lambda: headrace.publish("a/+", b""), lambda: headrace.publish("", b""),
                lambda: headrace.publish("a", b"", qos=2), lambda: headrace.publish("a", object()),
                lambda: headrace.publish("a", b"x" * 9_000_000), lambda: headrace.reply(b""),
                lambda: headrace.publish("a", b"", expires_in_s=0),
            ):
                try:
                    call()
                except (ValueError, TypeError, RuntimeError) as error:
                    said.append(f"{type(error).__name__}: {error}")
            return said
        """,
    "handler": """
        import headrace

        def main(error: dict):
            headrace.publish("alarm/handled", error["message"])
        """,
}
TRIGGERS = {
    "alarm": trigger_yaml("alarm", ("in/alarm", 2), extra="error_handler_path: f/t/handler\n"),
    "echo": trigger_yaml("echo", ("echo/#", 1)),
    "echo3": trigger_yaml("echo", ("echo3/#", 1), version="v3"),
    "answer": trigger_yaml("answer", ("ask/{who}/now", 1), extra="reply: {topic: 'told/{who}', errors: true}\n"),
    "replies": trigger_yaml("replies", ("reply/#", 1), extra="reply: true\n"),
    "wrong": trigger_yaml("wrong", ("wrong", 1)),
}


@pytest.fixture
def pipeline(tmp_path: Path, own_valkey: ValkeyServer, mosquitto: Mosquitto) -> Iterator[Pipeline]:
    """All processes, with the workspace deployed and every session subscribed."""
    folder = write_workspace(tmp_path / "workspace", mosquitto.port, TRIGGERS, SCRIPTS)
    made = Pipeline(tmp_path, own_valkey.url)
    made.push(folder)
    made.start("ingest", "dispatch", "worker")
    made.wait_connected(*[f"f/t/{name}" for name in TRIGGERS])
    yield made
    made.close()


@pytest.fixture
def store(pipeline: Pipeline) -> Store:
    """The pipeline's Redis."""
    return Store.connect(pipeline.env["REDIS_URL"])


def succeeded(pipeline: Pipeline, trigger: str) -> dict[str, Any] | None:
    """The newest run of a trigger once it has succeeded."""
    return next(iter(pipeline.runs("--trigger", trigger, "--state", "succeeded")), None)


def test_a_run_that_succeeds_publishes_what_it_has_said_with_all_properties(
    pipeline: Pipeline, store: Store, mosquitto: Mosquitto
) -> None:
    """In the order of the calls; each message has a key of its own and names the session of its trigger."""
    with Listener(mosquitto.port, "alarm/#") as listener:
        send(mosquitto.port, ("in/alarm", b"tank 7", 2))
        eventually(lambda: len(listener.messages) == 3)
    text, as_json, full = listener.messages
    assert (text.topic, text.payload, text.qos) == ("alarm/text", b"tank 7", 1)
    assert (as_json.topic, json.loads(as_json.payload), as_json.qos) == ("alarm/json", {"level": 3, "text": "über"}, 0)
    properties = full.properties
    assert properties is not None
    shown = properties.ContentType, properties.ResponseTopic, properties.CorrelationData
    assert shown == ("text/x", "alarm/answer", b"\x00\x01")
    assert properties.UserProperty[:2] == [("a", "1"), ("a", "2")]
    assert 0 < properties.MessageExpiryInterval <= 60
    run = eventually(lambda: succeeded(pipeline, "f/t/alarm"))
    assert run["received_at"] <= run["admitted_at"] <= run["queued_at"] <= run["started_at"] <= run["ended_at"]
    keys = [user_properties(message)["idempotency-key"] for message in listener.messages]
    assert keys == [f"{run['id']}.1.{n}" for n in (1, 2, 3)]
    eventually(lambda: counters(store, "f/t/alarm").get("sent") == 3)
    cells = counters(store, "f/t/alarm")
    assert (cells["said"], cells.get("outbox", 0), cells.get("unsent", 0)) == (3, 0, 0)
    pipeline.headrace("status")


@pytest.mark.usefixtures("pipeline")
def test_a_run_that_fails_publishes_nothing_and_its_error_handler_may(mosquitto: Mosquitto) -> None:
    """Neither when it raises nor when it declares a failure. The handler publishes to the broker of the trigger."""
    with Listener(mosquitto.port, "alarm/#") as listener:
        send(mosquitto.port, ("in/alarm", b"fail", 2), ("in/alarm", b"declare", 2))
        eventually(lambda: len(listener.messages) == 2)
        send(mosquitto.port, ("in/alarm", b"good", 2))
        eventually(lambda: len(listener.messages) == 5)
    handled = sorted(message.payload for message in listener.on("alarm/handled"))
    assert handled == [b"nor of this", b"nothing of this may be published"]
    assert [message.payload for message in listener.on("alarm/text")] == [b"good"]


def test_what_a_run_publishes_does_not_come_back_to_its_own_trigger(
    pipeline: Pipeline, store: Store, mosquitto: Mosquitto
) -> None:
    """With MQTT 5 others get it and the trigger drops it; where a trigger speaks 3.1.1 it goes to the dead letters."""
    with Listener(mosquitto.port, "echo/#", "echo3/#") as listener:
        send(mosquitto.port, ("echo/a", b"1", 1), ("echo3/a", b"2", 1))
        eventually(lambda: counters(store, "f/t/echo").get("own") == 1)
        eventually(lambda: counters(store, "f/t/echo3").get("unsent") == 1)
    assert sorted(listener.payloads) == [b"1", b"1!", b"2"]
    assert counters(store, "f/t/echo")["admitted"] == 1
    assert counters(store, "f/t/echo3")["admitted"] == 1
    letter = json.loads(pipeline.headrace("dead", "list", "--json", "--trigger", "f/t/echo3"))
    assert letter["reason"] == "unsent"
    assert "MQTT 3.1.1 cannot tell" in letter["detail"]
    assert "the books balance" in pipeline.headrace("status")


def ask(port: int, topic: str, payload: bytes) -> None:
    """Publish a request of MQTT 5."""
    properties = Properties(PacketTypes.PUBLISH)
    properties.ResponseTopic = "me/answers"
    properties.CorrelationData = b"\x07\x00\xff"
    send(port, (topic, payload, 1), properties=properties)


@pytest.mark.usefixtures("pipeline")
def test_a_trigger_with_reply_answers_with_the_result(mosquitto: Mosquitto) -> None:
    """To the response topic with the correlation data, or else to the topic that the trigger names; errors if asked."""
    with Listener(mosquitto.port, "me/answers", "told/#") as listener:
        ask(mosquitto.port, "ask/x/now", b"why")
        eventually(lambda: len(listener.messages) == 1)
        send(mosquitto.port, ("ask/north/now", b"when", 1))
        eventually(lambda: len(listener.messages) == 2)
        ask(mosquitto.port, "ask/x/now", b"fail")
        eventually(lambda: len(listener.messages) == 3)
    first, second, third = listener.messages
    assert (first.topic, json.loads(first.payload)) == ("me/answers", {"asked": "why"})
    assert first.properties is not None
    assert first.properties.CorrelationData == b"\x07\x00\xff"
    assert first.properties.ContentType == "application/json"
    assert (second.topic, json.loads(second.payload)) == ("told/north", {"asked": "when"})
    assert json.loads(third.payload) == {"error": {"name": "ValueError", "message": "no"}}
    assert user_properties(third)["headrace-state"] == "failed"


@pytest.mark.usefixtures("pipeline")
def test_code_that_replies_itself_is_the_only_one_that_does(mosquitto: Mosquitto) -> None:
    """`headrace.reply` goes where it says, with the correlation data; the result is then no second answer."""
    with Listener(mosquitto.port, "me/answers", "asked/#") as listener:
        ask(mosquitto.port, "reply/a", b"quietly")
        send(mosquitto.port, ("reply/b", b"old", 1))
        eventually(lambda: len(listener.messages) == 2)
        send(mosquitto.port, ("reply/b", b"last", 1))
        eventually(lambda: b"LAST" in listener.payloads)
    (asked,) = [message for message in listener.messages if message.payload == b"QUIETLY"]
    assert asked.topic == "asked/without"
    assert asked.properties is not None
    assert asked.properties.CorrelationData == b"\x07\x00\xff"
    assert sorted(listener.payloads) == [b"LAST", b"OLD", b"QUIETLY"]


def test_what_cannot_be_published_is_told_where_it_is_said(mosquitto: Mosquitto, pipeline: Pipeline) -> None:
    """Topics, QoS, sizes, and a reply to a message that asks for none: errors that the code can catch."""
    send(mosquitto.port, ("wrong", b"", 1))
    run = eventually(lambda: succeeded(pipeline, "f/t/wrong"))
    said = run["result"]
    assert [each.partition(":")[0] for each in said] == [
        "ValueError", "ValueError", "ValueError", "TypeError", "ValueError", "RuntimeError", "ValueError",
    ]  # fmt: skip
    assert "response topic" in said[5]


@pytest.mark.usefixtures("pipeline")
def test_a_broker_of_mqtt_3_1_1_gets_messages_without_properties(mosquitto: Mosquitto) -> None:
    """A subscriber of the old protocol sees topic and payload."""
    with Listener(mosquitto.port, "alarm/text", version=MQTTProtocolVersion.MQTTv311) as listener:
        send(mosquitto.port, ("in/alarm", b"to all", 2))
        eventually(lambda: listener.payloads == [b"to all"])
