"""Invariant: a QoS 2 backlog that is longer than there are packet identifiers arrives once each.

Mosquitto 2.0.11 sends so much at once that it reuses identifiers that are in flight; later versions keep to the limit
of the client. What a broker does that surely reuses them is in integration/test_ingest_redelivery.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.inflight import ENTRY_BYTES
from shared import keys
from shared.store import Store
from tests.support.burst import Publisher
from tests.support.eventually import eventually
from tests.support.factories import counters
from tests.support.mosquitto import Mosquitto, mosquitto_version
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
        self.reused = 0
        """Packet identifiers that were seen to stand for two messages at once, when there first were any."""
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
        """Whether all have arrived, and every packet identifier has been released."""
        (sid,) = self.store.command("SMEMBERS", keys.SESSIONS)
        inflight = keys.inflight(sid.decode())
        if not self.reused:
            held = self.store.command("HVALS", inflight)
            self.reused = sum(len(entries) > ENTRY_BYTES for entries in held)
        return self.admitted() >= MESSAGES and not self.store.command("HLEN", inflight)


@pytest.fixture
def backlog(tmp_path: Path, own_valkey: ValkeyServer) -> Iterator[Backlog]:
    """Waiting in a broker that lets ids run ahead."""
    options = {"max_inflight_messages": "1000", "autosave_interval": "1800"}
    with Mosquitto(tmp_path / "mosquitto", options) as mosquitto:
        made = Backlog(tmp_path, own_valkey, mosquitto.start())
        yield made
        made.pipeline.close()
        made.store.close()


def keeps_to_limits() -> bool:
    """Whether this Mosquitto sends no more at once than the client allows, also from a backlog: since 2.0.13."""
    version = re.search(r"(\d+)\.(\d+)\.(\d+)", mosquitto_version() or "")
    return version is not None and tuple(map(int, version.groups())) >= (2, 0, 13)


@pytest.mark.timeout(500)
def test_a_backlog_of_identical_messages_arrives_once_each(backlog: Backlog) -> None:
    """The same payload on the same topic, 100 000 times: 100 000 messages."""
    backlog.pipeline.start("ingest")
    eventually(backlog.drained, timeout_s=400, interval_s=0.2)

    assert backlog.admitted() == MESSAGES
    assert counters(backlog.store, "f/t/q2").get("duplicate", 0) == 0
    assert backlog.reused or keeps_to_limits()
