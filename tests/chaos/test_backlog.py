"""Invariant: a QoS 2 backlog so long that the broker reuses packet ids in flight arrives once each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared import keys
from shared.store import Store
from tests.support.burst import Publisher
from tests.support.eventually import eventually
from tests.support.factories import counters
from tests.support.mosquitto import Mosquitto
from tests.support.pipeline import Pipeline
from tests.support.valkey import ValkeyServer
from tests.support.workspaces import trigger_yaml, write_workspace

MESSAGES = 100_000
"""More than there are packet ids."""


class Backlog:
    """A persistent session whose ingest is away while MESSAGES identical messages are published."""

    def __init__(self, folder: Path, valkey: ValkeyServer, mosquitto: Mosquitto) -> None:
        self.pipeline = Pipeline(folder, valkey.url)
        self.store = Store.connect(valkey.url)
        triggers = {"q2": trigger_yaml("noop", ("backlog/#", 2))}
        scripts = {"noop": "def main():\n    return None\n"}
        self.pipeline.push(write_workspace(folder / "workspace", mosquitto.port, triggers, scripts))
        self.pipeline.start("ingest")
        self.pipeline.wait_connected("f/t/q2")
        self.pipeline.kill("ingest")
        publisher = Publisher(mosquitto.port)
        publisher.publish("backlog/same", ["21.5"] * MESSAGES, 2)
        publisher.close()

    def admitted(self) -> int:
        """Messages admitted so far."""
        return counters(self.store, "f/t/q2").get("admitted", 0)

    def drained(self) -> bool:
        """Whether all have arrived, and every packet id has been released."""
        (sid,) = self.store.command("SMEMBERS", keys.SESSIONS)
        return self.admitted() >= MESSAGES and not self.store.command(
            "HLEN", f"headrace:session:{sid.decode()}:inflight"
        )


@pytest.fixture
def backlog(tmp_path: Path, own_valkey: ValkeyServer) -> Iterator[Backlog]:
    """Waiting in a broker that lets ids run ahead."""
    options = {"max_inflight_messages": "1000", "autosave_interval": "1800"}
    with Mosquitto(tmp_path / "mosquitto", options) as mosquitto:
        made = Backlog(tmp_path, own_valkey, mosquitto.start())
        yield made
        made.pipeline.close()
        made.store.close()


@pytest.mark.timeout(300)
def test_a_backlog_of_identical_messages_arrives_once_each(backlog: Backlog) -> None:
    """The same payload on the same topic, 100 000 times: 100 000 messages."""
    backlog.pipeline.start("ingest")
    eventually(backlog.drained, timeout_s=200, interval_s=0.2)

    assert backlog.admitted() == MESSAGES
    assert counters(backlog.store, "f/t/q2").get("duplicate", 0) == 0
