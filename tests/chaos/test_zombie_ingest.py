"""Invariant: an ingest that was stopped beyond its lease writes nothing more, and leaves its follower alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared import keys
from shared.store import Store
from tests.support.burst import Publisher
from tests.support.eventually import eventually
from tests.support.mosquitto import Mosquitto
from tests.support.pipeline import Pipeline
from tests.support.processes import HeadraceProcess
from tests.support.valkey import ValkeyServer
from tests.support.workspaces import RECORDER, trigger_yaml, write_workspace

BURST = 50
"""Messages per QoS, at each stage: fewer than the broker sends without an acknowledgement."""
TRIGGERS = {1: "f/t/q1", 2: "f/t/q2"}


class Relay:
    """Two ingests and all that follows them, with a trigger of QoS 1 and one of QoS 2; and what really ran."""

    def __init__(self, folder: Path, valkey: ValkeyServer, mosquitto: Mosquitto, version: str) -> None:
        self.log = folder / "executed"
        self.log.touch()
        self.mosquitto = mosquitto
        self.store = Store.connect(valkey.url)
        self.pipeline = Pipeline(folder, valkey.url, HEADRACE_INGEST__LEASE_TTL_MS="5000")
        self.publisher = Publisher(mosquitto.port)
        self._sent = 0
        triggers = {f"q{qos}": trigger_yaml("record", (f"zombie/q{qos}", qos), version=version) for qos in TRIGGERS}
        scripts = {"record": RECORDER.replace("@LOG@", str(self.log))}
        self.pipeline.push(write_workspace(folder / "workspace", mosquitto.port, triggers, scripts))

    def start_holder(self) -> HeadraceProcess:
        """An ingest that holds both sessions, and then all other processes."""
        self.pipeline.start("ingest")
        self.pipeline.wait_connected(*TRIGGERS.values())
        self.pipeline.start("ingest-2", "dispatch", "worker")
        self.pipeline.processes["ingest-2"].wait_ready()
        return self.pipeline.processes["ingest"]

    def publish(self) -> None:
        """A burst per QoS, of payloads that come once, confirmed by the broker."""
        payloads = [str(self._sent + n) for n in range(BURST)]
        self._sent += BURST
        for qos in TRIGGERS:
            self.publisher.publish(f"zombie/q{qos}", payloads, qos)

    def payloads(self, qos: int) -> Counter[str]:
        """How often each payload was executed."""
        lines = [line.split(" ") for line in self.log.read_text().splitlines()]
        return Counter(payload for run, _key, payload in lines if run[1] == str(qos))

    def all_ran(self) -> bool:
        """Whether every message that was published has been executed, and nothing is under way."""
        seen = [set(self.payloads(qos)) for qos in TRIGGERS]
        return all(len(each) == self._sent for each in seen) and self.is_quiet()

    def is_quiet(self) -> bool:
        """Whether all runs have ended and all QoS 2 exchanges too."""
        status = self.pipeline.status()
        cells = status["counters"]["total"]
        waiting = status["inbox_length"] + cells.get("queued", 0) + cells.get("running", 0)
        return not waiting and not any(self.store.command("EXISTS", keys.inflight(sid)) for sid in self.sessions())

    def sessions(self) -> list[str]:
        """The ids of both sessions."""
        return sorted(sid.decode() for sid in self.store.command("SMEMBERS", keys.SESSIONS))

    def holders(self) -> set[int]:
        """Process ids of those that hold the sessions."""
        leases = [self.store.command("GET", keys.lease(sid)) for sid in self.sessions()]
        return {int(lease.split(b":")[1]) for lease in leases}

    def written(self) -> dict[str, Any]:
        """Everything that ingest can write but the time of a lease."""
        written = {sid: self.store.command("HGETALL", keys.session(sid)) for sid in self.sessions()}
        cells = {path: self.store.command("HGETALL", keys.counters(path)) for path in TRIGGERS.values()}
        return written | cells | {"inbox": self.store.command("XINFO", "STREAM", keys.INBOX)}

    def connects(self) -> int:
        """How often the broker has seen CONNECT with a client id of ours."""
        return self._logged(" as {} ")

    def delivered(self) -> int:
        """How many messages the broker has sent us."""
        return self._logged("Sending PUBLISH to {} ")

    def _logged(self, line: str) -> int:
        ours = [session["client_id"] for session in self.pipeline.status()["sessions"]]
        return sum(self.mosquitto.output.count(line.format(each)) for each in ours)

    def close(self) -> None:
        """End everything."""
        self.publisher.close()
        self.pipeline.close()
        self.store.close()


@pytest.fixture(params=["v5", "v3"])
def relay(
    request: pytest.FixtureRequest, tmp_path: Path, own_valkey: ValkeyServer, mosquitto: Mosquitto
) -> Iterator[Relay]:
    """By MQTT 5 and by 3.1.1."""
    made = Relay(tmp_path, own_valkey, mosquitto, request.param)
    yield made
    made.close()


def test_a_zombie_ingest_writes_nothing_and_steps_down(relay: Relay) -> None:
    """What the broker had sent it while it was stopped lies in its socket when it wakes up."""
    zombie = relay.start_holder()
    successor = relay.pipeline.processes["ingest-2"]
    relay.publish()
    eventually(relay.all_ran, 60, interval_s=0.2)
    assert relay.holders() == {zombie.pid}
    connects, delivered = relay.connects(), relay.delivered()
    zombie.sigstop()
    relay.publish()
    eventually(lambda: relay.delivered() == delivered + len(TRIGGERS) * BURST)
    eventually(lambda: relay.holders() == {successor.pid}, 60, interval_s=0.2)
    relay.pipeline.wait_connected(*TRIGGERS.values())
    relay.publish()
    eventually(relay.all_ran, 60, interval_s=0.2)
    written = relay.written()
    zombie.sigcont()
    eventually(lambda: zombie.output.count("lease.lost") == len(TRIGGERS), 60)

    assert relay.written() == written
    relay.publish()
    eventually(relay.all_ran, 60, interval_s=0.2)
    assert relay.connects() == connects + len(TRIGGERS)
    assert "session.taken_over" not in zombie.output + successor.output
    assert relay.holders() == {successor.pid}
    assert set(relay.payloads(2).values()) == {1}
    status = relay.pipeline.status()
    assert status["counters"]["triggers"]["f/t/q2"]["runs"] == 4 * BURST
    assert all(identity["holds"] for identity in status["identities"]), status["identities"]
    assert zombie.running
