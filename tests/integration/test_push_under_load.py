"""Deployments while messages flow: nothing is lost or doubled, and no session is touched that did not change."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.burst import Publisher
from tests.support.eventually import eventually
from tests.support.mosquitto import Mosquitto
from tests.support.pipeline import Pipeline
from tests.support.valkey import ValkeyServer
from tests.support.workspaces import trigger_yaml, write_workspace

PUSHES = 5
RATE = 2000
"""Messages a second, as far as this machine can."""
BATCH, SHARE = 100, 25
"""Messages at a time, and how many of them are for `old` and for `steady`; the others are for `load`."""
AHEAD = 5000
"""Messages that may wait to be executed: a machine that has other work too is given no more than it can do."""
LOGGED = "notice\nlog_type subscribe\nlog_type unsubscribe"
SCRIPT = """\
import headrace

VERSION = @N@


def main(payload: bytes):
    with open("@LOG@", "a") as log:
        log.write(f"{headrace.run.trigger} {VERSION} {payload.decode()}\\n")
"""


class Flood:
    """Publishes at QoS 2 until it is stopped; `sent` counts by topic what the broker has confirmed."""

    def __init__(self, port: int, log: Path) -> None:
        self.sent: Counter[str] = Counter()
        self._log = log
        self._publisher = Publisher(port)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        """Returns when all is confirmed."""
        self._stop.set()
        self._thread.join()
        self._publisher.close()

    def _run(self) -> None:
        begun, total = time.monotonic(), 0
        while not self._stop.wait(max(0.0, begun + total / RATE - time.monotonic())):
            if total - self._executed() > AHEAD:
                self._stop.wait(0.1)
                continue
            for topic, count in (("load", BATCH - 2 * SHARE), ("old", SHARE), ("steady", SHARE)):
                numbers = range(self.sent[topic], self.sent[topic] + count)
                total += self._publisher.publish(f"{topic}/data", [str(number) for number in numbers], 2)
                self.sent[topic] += count

    def has_sent(self, count: int) -> bool:
        """Whether more than so many messages are sent."""
        return self.sent.total() > count

    def _executed(self) -> int:
        return self._log.read_bytes().count(b"\n") if self._log.exists() else 0


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """One that logs who connects and what is (un)subscribed, and nothing else."""
    with Mosquitto(tmp_path / "mosquitto", {"log_type": LOGGED}) as server:
        yield server.start()


@pytest.fixture
def pipeline(tmp_path: Path, own_valkey: ValkeyServer, mosquitto: Mosquitto) -> Iterator[Pipeline]:
    """All processes, two workers, with the first workspace deployed and connected."""
    pipeline = Pipeline(tmp_path, own_valkey.url)
    try:
        pipeline.push(workspace(tmp_path, mosquitto.port, 0))
        pipeline.start("ingest", "dispatch", "worker-1", "worker-2")
        pipeline.wait_connected("f/t/load", "f/t/old", "f/t/steady")
        yield pipeline
    finally:
        pipeline.close()


def workspace(tmp_path: Path, port: int, number: int) -> Path:
    """`load` (MQTT 5) and `old` (3.1.1) have another script and another filter in each; `steady` stays as it is."""
    triggers = {
        "load": trigger_yaml("changing", ("load/data", 2), (f"load/{number}", 1)),
        "old": trigger_yaml("changing", ("old/data", 2), (f"old/{number}", 1), version="v3"),
        "steady": trigger_yaml("steady", ("steady/data", 2)),
    }
    script = SCRIPT.replace("@LOG@", str(tmp_path / "executed"))
    scripts = {"changing": script.replace("@N@", str(number)), "steady": script.replace("@N@", "0")}
    return write_workspace(tmp_path / "ws", port, triggers, scripts)


def executed(tmp_path: Path) -> list[tuple[str, int, str]]:
    """(trigger, version of the script, payload) of every execution so far."""
    log = tmp_path / "executed"
    lines = [line.split(" ") for line in log.read_text().splitlines()] if log.exists() else []
    return [(trigger.removeprefix("f/t/"), int(version), payload) for trigger, version, payload in lines]


def client_of(pipeline: Pipeline, trigger: str) -> str:
    """The client id of a trigger."""
    sessions = pipeline.status()["sessions"]
    return str(next(each["client_id"] for each in sessions if each["trigger"] == f"f/t/{trigger}"))


def told(mosquitto: Mosquitto, wanted: list[str]) -> bool:
    """Whether the broker has logged all of these."""
    return all(line in mosquitto.output for line in wanted)


@pytest.mark.timeout(180)
def test_pushes_under_load_lose_and_double_nothing(pipeline: Pipeline, mosquitto: Mosquitto, tmp_path: Path) -> None:
    """Each change is followed on the open connection: MQTT 5 and 3.1.1 subscribe and unsubscribe, nobody reconnects."""
    clients = {trigger: client_of(pipeline, trigger) for trigger in ("load", "old", "steady")}
    before = mosquitto.output
    flood = Flood(mosquitto.port, tmp_path / "executed")
    try:
        for number in range(1, PUSHES + 1):
            pipeline.push(workspace(tmp_path, mosquitto.port, number))
            wanted = [f": {clients[trigger]} 1 {trigger}/{number}" for trigger in ("load", "old")]
            eventually(partial(told, mosquitto, wanted), 30, interval_s=0.05)
            sent = flood.sent.total()
            eventually(partial(flood.has_sent, sent + 2 * BATCH), 30)
    finally:
        flood.stop()
    published = {(topic, str(number)) for topic, count in flood.sent.items() for number in range(count)}
    eventually(lambda: len(executed(tmp_path)) >= len(published), 90, interval_s=0.2)
    eventually(lambda: all(each["holds"] for each in pipeline.status()["identities"]))
    seen = Counter((trigger, payload) for trigger, _, payload in executed(tmp_path))

    assert {message: count for message, count in seen.items() if count > 1} == {}
    assert set(seen) == published
    assert {version for trigger, version, _ in executed(tmp_path) if trigger == "load"} == set(range(PUSHES + 1))

    after = mosquitto.output.removeprefix(before).splitlines()
    for trigger, client in clients.items():
        assert [line for line in after if f" as {client} " in line] == []
        filters = [f"{trigger}/{number}" for number in range(PUSHES + 1)] if trigger != "steady" else []
        assert [line.split()[-1] for line in after if f": {client} 1 " in line] == filters[1:]
        assert [line.split()[-1] for line in after if f": {client} {trigger}/" in line] == filters[:-1]
    assert [line for line in after if clients["steady"] in line] == []
