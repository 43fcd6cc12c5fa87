"""Where dead letters are told of, from `headrace.yaml` on disk to the message of a script that fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.definitions import DeadTopic
from shared.deploy import read_current
from shared.store import Store
from tests.support.command_line import CommandLine
from tests.support.eventually import eventually
from tests.support.ingest import send
from tests.support.listener import Listener, user_properties
from tests.support.mosquitto import Mosquitto
from tests.support.pipeline import Pipeline
from tests.support.valkey import ValkeyServer
from tests.support.workspaces import trigger_yaml, write_workspace

SCRIPT = "def main(payload: bytes):\n    raise ValueError('too hot')\n"
DEFAULTS = "headrace.yaml"


@pytest.fixture
def folder(tmp_path: Path, mosquitto: Mosquitto) -> Path:
    """A workspace whose only script fails."""
    return write_workspace(tmp_path / "ws", mosquitto.port, {"a": trigger_yaml("s", ("x", 1))}, {"s": SCRIPT})


@pytest.fixture
def pipeline(tmp_path: Path, own_valkey: ValkeyServer) -> Iterator[Pipeline]:
    """All processes, on an empty server."""
    made = Pipeline(tmp_path, own_valkey.url)
    yield made
    made.close()


def test_a_run_that_fails_is_told_of_where_the_workspace_says(
    pipeline: Pipeline, folder: Path, mosquitto: Mosquitto
) -> None:
    """From the file to the broker; and not any more once the file has changed."""
    (folder / DEFAULTS).write_text("dead_letters:\n  mqtt_resource_path: f/t/broker\n  topic_prefix: plant/\n")
    pipeline.push(folder)
    pipeline.start("ingest", "dispatch", "worker")
    pipeline.wait_connected("f/t/a")
    with Listener(mosquitto.port, "plant/dead/#") as listener:
        send(mosquitto.port, ("x", b"21.5", 1))
        eventually(lambda: listener.messages)
        (message,) = listener.messages
        assert (message.topic, message.payload) == ("plant/dead/f/t/a", b"21.5")
        told = user_properties(message)
        assert (told["headrace-reason"], told["headrace-error"]) == ("failed", "ValueError: too hot")
        assert pipeline.headrace("dead", "show", told["headrace-dead-letter"])
    store = Store.connect(pipeline.env["REDIS_URL"])
    topic = read_current(store, create_id=False).triggers["f/t/a"].dead_topic
    assert topic == DeadTopic("f/t/broker", "plant")

    (folder / DEFAULTS).write_text("retention: {runs_max: 10}\n")
    pipeline.push(folder)
    assert read_current(store, create_id=False).triggers["f/t/a"].dead_topic is None


@pytest.mark.parametrize(
    "text, word",
    [
        ("dead_letters: {mqtt_resource_path: f/t/brker}\n", "there is no f/t/brker.resource.yaml"),
        ("dead_letters: {topic_prefix: a}\n", "mqtt_resource_path: missing"),
        ("dead_letters: {mqtt_resource_path: f/t/broker, topic_prefix: 'a/+'}\n", "topic_prefix: "),
        ("dead_letters: {mqtt_resource_path: f/t/broker, qos: qos2}\n", "expected one of qos0, qos1"),
        ("dead_letters: {mqtt_resource_path: f/t/broker, topics: a}\n", "topics: unknown key"),
    ],
)
def test_what_is_wrong_with_it_is_told(
    folder: Path,
    text: str,
    word: str,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """File, line and key; nothing is deployed."""
    (folder / DEFAULTS).write_text(text)
    said = CommandLine(redis_url, monkeypatch, capsys)("push", folder, "--yes")
    assert said.status != 0
    assert "headrace.yaml:1" in said.err
    assert word in said.err
