"""Invariant: through kill -9 of any process at any moment, QoS 2 runs once, QoS 1 at least once, QoS 0 at most once."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.burst import Publisher
from tests.support.eventually import eventually
from tests.support.mosquitto import Mosquitto
from tests.support.pipeline import Pipeline
from tests.support.proxy import CuttingProxy
from tests.support.valkey import ValkeyServer
from tests.support.workspaces import RECORDER, trigger_yaml, write_workspace

MESSAGES = 3000
SAME = "21.5"
PROCESSES = ("ingest", "dispatch", "worker", "worker-2")
INGEST_LIVES_S = 3.0
"""At least: cut off while it still resends, Mosquitto 2.0.11 sends PUBLISH again where PUBREL is due."""


class Chaos:
    """A pipeline under load whose parts are killed at random, and what really ran according to the script itself."""

    def __init__(self, folder: Path, redis: tuple[str, str], mosquitto: Mosquitto, version: str) -> None:
        """`redis`: its address as the processes know it, and as the test asks it."""
        self.log = folder / "executed"
        self.log.touch()
        self.pipeline = Pipeline(folder, redis[0], asked_at=redis[1])
        self.mosquitto = mosquitto
        self.random = random.Random(version)
        self.ingest_since = time.monotonic()
        workspace = write_workspace(
            folder / "workspace",
            mosquitto.port,
            {f"q{qos}": trigger_yaml("record", (f"chaos/q{qos}/#", qos), version=version) for qos in range(3)},
            {"record": RECORDER.replace("@LOG@", str(self.log))},
        )
        self.pipeline.push(workspace)
        self.pipeline.start(*PROCESSES)
        self.pipeline.wait_connected("f/t/q0", "f/t/q1", "f/t/q2")

    def publish(self) -> None:
        """MESSAGES per QoS, half of them with the same payload, in small bursts over some seconds."""
        publisher = Publisher(self.mosquitto.port)
        payloads = [SAME if n % 2 else str(n) for n in range(MESSAGES)]
        for start in range(0, MESSAGES, 100):
            for qos in range(3):
                publisher.publish(f"chaos/q{qos}/{start // 100}", payloads[start : start + 100], qos)
            time.sleep(0.1)
        publisher.close()

    def kill_one(self) -> None:
        """Kill -9 of a process or a runner, and a new one in its place."""
        victim = self.random.choice([*PROCESSES, "runner"])
        if victim == "ingest":
            if time.monotonic() < self.ingest_since + INGEST_LIVES_S:
                return
            self.ingest_since = time.monotonic()
        if victim == "runner":
            for runner in self.pipeline.runners()[:1]:
                with suppress(psutil.NoSuchProcess):
                    runner.kill()
            return
        self.pipeline.kill(victim)
        self.pipeline.start(victim)

    def while_publishing(self, disturb: Callable[[], None]) -> None:
        """Disturb again and again until everything is published."""
        failures: list[BaseException] = []

        def publish() -> None:
            try:
                self.publish()
            except BaseException as error:  # noqa: BLE001 - told to the test's own thread
                failures.append(error)

        thread = threading.Thread(target=publish)
        thread.start()
        while thread.is_alive():
            disturb()
            time.sleep(self.random.uniform(0.1, 0.5))
        thread.join()
        assert not failures, failures

    def settle(self, *, killed: bool = False) -> dict[str, Any]:
        """Wait until nothing is under way any more and the number of runs no longer grows; the status then.

        Where the test has `killed` processes, those are started again; otherwise none may have ended.
        """
        seen: list[int] = []

        def settled() -> dict[str, Any] | None:
            if killed:
                self.pipeline.restart_dead()
            status = self.pipeline.status()
            cells = status["counters"]["total"]
            live = status["inbox_length"] + cells.get("queued", 0) + cells.get("running", 0)
            connected = all(session["state"] == "connected" for session in status["sessions"])
            seen.append(cells.get("runs", 0) if connected and not live else -1)
            return status if len(seen) > 6 and len(set(seen[-6:])) == 1 and seen[-1] >= 0 else None

        status = eventually(settled, timeout_s=90, interval_s=0.5)
        assert status is not None
        assert all(process.running for process in self.pipeline.processes.values())
        return status

    def executed(self) -> dict[int, Counter[str]]:
        """Per QoS: how often the code of each run was executed."""
        found: dict[int, Counter[str]] = {0: Counter(), 1: Counter(), 2: Counter()}
        for line in self.log.read_text().splitlines():
            run = line.split(" ")[0]
            found[int(run[1])][run] += 1
        return found

    def payloads(self, qos: int) -> Counter[str]:
        """How many runs were executed per payload."""
        lines = {line.split(" ")[0]: line.split(" ")[2] for line in self.log.read_text().splitlines()}
        return Counter(payload for run, payload in lines.items() if run[1] == str(qos))

    def check(self, status: dict[str, Any]) -> None:
        """The promise, by what the script itself has recorded; and the books."""
        executed = self.executed()
        runs = {qos: status["counters"]["triggers"][f"f/t/q{qos}"] for qos in range(3)}
        unique = {str(n) for n in range(0, MESSAGES, 2)}

        assert runs[2]["runs"] == MESSAGES, "QoS 2: each message is triggered exactly once"
        assert max(executed[2].values()) == 1, "QoS 2: no run's code is started twice"
        assert runs[2].get("succeeded", 0) + runs[2].get("interrupted", 0) == MESSAGES, (
            "QoS 2: every run is accounted for"
        )
        assert len(executed[2]) >= runs[2].get("succeeded", 0), "QoS 2: what succeeded was executed"
        assert max(n for p, n in self.payloads(2).items() if p != SAME) == 1, "QoS 2: no message made two runs"
        assert self.payloads(2)[SAME] <= MESSAGES // 2, "QoS 2: nor did one of the identical ones"

        assert runs[1]["runs"] >= MESSAGES, "QoS 1: no message is lost"
        assert runs[1].get("succeeded", 0) + runs[1].get("failed", 0) == runs[1]["runs"], "QoS 1: every run has ended"
        if not runs[1].get("failed", 0):
            assert unique <= set(self.payloads(1)), "QoS 1: every message was executed"

        assert runs[0].get("runs", 0) <= MESSAGES, "QoS 0: no message is triggered twice"
        assert max(executed[0].values(), default=1) == 1, "QoS 0: no run's code is started twice"
        assert max((n for p, n in self.payloads(0).items() if p != SAME), default=1) == 1, "QoS 0: nor any message"
        assert all(identity["holds"] for identity in status["identities"]), status["identities"]


@pytest.fixture(params=["v5", "v3"])
def chaos(
    request: pytest.FixtureRequest, tmp_path: Path, own_valkey: ValkeyServer, mosquitto: Mosquitto
) -> Iterator[Chaos]:
    """A running pipeline, by MQTT 5 and by 3.1.1."""
    made = Chaos(tmp_path, (own_valkey.url, own_valkey.url), mosquitto, request.param)
    yield made
    made.pipeline.close()


@pytest.fixture
def proxy(own_valkey: ValkeyServer) -> Iterator[CuttingProxy]:
    """Between the processes and Redis."""
    with CuttingProxy(own_valkey.port) as between:
        yield between


@pytest.fixture
def chaos_through_proxy(
    tmp_path: Path, own_valkey: ValkeyServer, mosquitto: Mosquitto, proxy: CuttingProxy
) -> Iterator[Chaos]:
    """A running pipeline that reaches Redis through the proxy."""
    through = f"redis://127.0.0.1:{proxy.port}/0"
    made = Chaos(tmp_path, (through, own_valkey.url), mosquitto, "v5")
    yield made
    made.pipeline.close()


@pytest.mark.timeout(300)
def test_kill_9_of_every_process_and_runner_keeps_the_promise(chaos: Chaos) -> None:
    """ingest, dispatch, both workers and their runners die again and again under load."""
    chaos.while_publishing(chaos.kill_one)

    chaos.check(chaos.settle(killed=True))


@pytest.mark.timeout(300)
def test_kill_9_of_redis_keeps_the_promise(chaos: Chaos, own_valkey: ValkeyServer) -> None:
    """The server comes back from its append-only file; nothing is swept wrongly meanwhile."""

    def kill_redis() -> None:
        own_valkey.kill9()
        own_valkey.start()
        time.sleep(chaos.random.uniform(0.5, 1.5))

    chaos.while_publishing(kill_redis)
    status = chaos.settle()

    chaos.check(status)
    assert status["counters"]["total"].get("interrupted", 0) == 0
    assert status["counters"]["total"].get("lost", 0) == 0


@pytest.mark.timeout(300)
def test_a_restarted_broker_keeps_the_promise(chaos: Chaos) -> None:
    """Stopped by SIGTERM with most messages still waiting, it saves its sessions; they are resumed."""
    ingest = chaos.pipeline.processes["ingest"]
    ingest.sigstop()
    chaos.publish()
    waiting = MESSAGES - chaos.pipeline.status()["counters"]["triggers"].get("f/t/q2", {}).get("admitted", 0)
    chaos.mosquitto.sigterm()
    chaos.mosquitto.start()
    ingest.sigcont()

    chaos.check(chaos.settle())
    assert waiting == MESSAGES


@pytest.mark.timeout(300)
def test_lost_replies_keep_the_promise(chaos_through_proxy: Chaos, proxy: CuttingProxy) -> None:
    """Requests are carried out and nobody is told: every verb is repeated, and acts once."""
    chaos_through_proxy.while_publishing(lambda: proxy.cut_replies(3, after=b"EVALSHA"))
    proxy.resume()
    status = chaos_through_proxy.settle()

    chaos_through_proxy.check(status)
    assert proxy.cuts > 20
    assert status["counters"]["total"].get("interrupted", 0) == 0
    assert status["counters"]["total"].get("lost", 0) == 0


@pytest.mark.timeout(300)
@pytest.mark.parametrize("chaos", ["v5"], indirect=True)
def test_redis_away_for_30_seconds_is_nobodys_death(chaos: Chaos, own_valkey: ValkeyServer) -> None:
    """Twenty lease times, with runs of QoS 0 and 2 executing: they end, what waits runs, no living worker is swept."""
    publisher = Publisher(chaos.mosquitto.port)
    for qos in (0, 2):
        publisher.publish(f"chaos/q{qos}/hold", ["hold 33"], qos)
    eventually(lambda: chaos.pipeline.status()["running"] == 2)
    own_valkey.sigstop()
    for qos in range(3):
        publisher.publish(f"chaos/q{qos}/away", map(str, range(100)), qos)
    time.sleep(15)
    own_valkey.kill9()
    time.sleep(15)
    own_valkey.start()
    status = chaos.settle()

    cells = status["counters"]["triggers"]
    assert [cells[f"f/t/q{qos}"]["runs"] for qos in range(3)] == [101, 100, 101]
    assert [cells[f"f/t/q{qos}"]["succeeded"] for qos in range(3)] == [101, 100, 101]
    assert all(max(executed.values()) == 1 for executed in chaos.executed().values())
    assert all(identity["holds"] for identity in status["identities"])
    publisher.close()
