"""How fast does ingest store what a broker has? Beside mosquitto_sub, which stores nothing.

A session with a backlog is drained by ingest, until everything is in the inbox and every QoS 2 exchange is complete,
and an equal one by `mosquitto_sub > /dev/null`. Both from just before CONNECT; ingest's start-up does not count.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.lab import Lab
from bench.load import publish
from bench.servers import HOST, Aof, Unmeasurable, mosquitto, program, valkey
from bench.system import TOPIC, System
from bench.table import Missing, Row, Target
from shared import keys

BACKLOG = {0: 50_000, 1: 50_000, 2: 15_000}
"""Mosquitto drains a backlog in O(n²): from 60,000 at QoS 1 and 20,000 at QoS 2 on that is all that one would see."""
TARGET = {1: Target(of_ratio=True, limit=0.6)}
REPLAYED = 200_000
REPLAY = f"admit QoS 1, {REPLAYED:,} replayed"
REPLAY_TARGET = Target(of_ratio=False, limit=100_000)
TIMEOUT_S = 60.0


def measure(lab: Lab) -> list[Row | Missing]:
    """Drained backlogs at each QoS; then what ingest does when the broker costs nothing."""
    rows: list[Row | Missing] = []
    for qos in BACKLOG:
        rows += lab.rows(_what(qos), partial(_beside_mosquitto_sub, lab, qos))
    return [*rows, *lab.rows(REPLAY, partial(_replayed, lab))]


def _what(qos: int) -> str:
    return f"admit QoS {qos}, backlog of {BACKLOG[qos]:,}"


def _beside_mosquitto_sub(lab: Lab, qos: int) -> list[Row]:
    count = BACKLOG[qos]
    with mosquitto(lab.folder()) as port, valkey(lab.folder(), "always") as (url, _):
        system = System(url, lab.folder())
        system.deploy(port, qos)
        with system.process("ingest"):
            system.wait_until(system.is_subscribed, "the subscription of ingest")
        other = _MosquittoSub(port, qos)
        other.subscribe()
        fill_both = partial(publish, port, count, max(qos, 1))
        ours, theirs = partial(_drained, system, count), partial(other.drained, count)
        values, beside = lab.each_round(_what(qos), ours, theirs, prepare=fill_both)
    return [Row(_what(qos), "msg/s", values, "mosquitto_sub", beside, TARGET.get(qos))]


def _drained(system: System, count: int) -> float:
    admitted, connection = system.session("admitted"), system.session("connection")
    with system.process("ingest"):
        begun = system.wait_until(lambda: system.session("connection") > connection, "ingest's connection")
        ended = system.wait_until(lambda: _is_drained(system, admitted + count), f"{count} admitted messages")
    return count / (ended - begun)


def _is_drained(system: System, admitted: int) -> bool:
    if system.session("admitted") < admitted:
        return False
    return not system.store.command("HLEN", keys.inflight(system.trigger.session))


class _MosquittoSub:
    """A persistent session of mosquitto_sub."""

    def __init__(self, port: int, qos: int) -> None:
        session = ["-i", "bench-mosquitto-sub", "-c", "-x", "3600"]
        self._argv = [program("mosquitto_sub"), "-V", "5", "-h", HOST, "-p", str(port), *session]
        self._argv += ["-q", str(qos), "-t", TOPIC, "-D", "connect", "receive-maximum", "65535"]

    def subscribe(self) -> None:
        """Begin the session and leave it."""
        self._run("-E")

    def drained(self, count: int) -> float:
        """Messages per second."""
        begun = time.monotonic()
        self._run("-C", str(count))
        return count / (time.monotonic() - begun)

    def _run(self, *more: str) -> None:
        try:
            done = subprocess.run(
                [*self._argv, *more], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise Unmeasurable(f"mosquitto_sub did not get its messages within {TIMEOUT_S:g} s") from error
        if done.returncode:
            raise Unmeasurable(f"mosquitto_sub failed: {done.stderr.decode(errors='replace')}")


def _replayed(lab: Lab) -> list[Row]:
    def run(aof: Aof) -> float:
        with valkey(lab.folder(), aof) as (url, _), replaying(1) as replay:
            system = System(url, lab.folder())
            system.deploy(replay.port, 1)
            with system.process("ingest"):
                replay.connected()
                return REPLAYED / replay.send(REPLAYED)

    values, beside = lab.each_round(REPLAY, partial(run, "always"), partial(run, "none"))
    return [Row(REPLAY, "msg/s", values, "without AOF", beside, REPLAY_TARGET)]


class Replaying:
    """bench.replay as a process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.port = int(self._answer())

    def connected(self) -> None:
        """Wait until ingest has subscribed."""
        self._answer()

    def send(self, count: int) -> float:
        """Seconds until all are acknowledged (QoS 0: written)."""
        if self._process.stdin is None:
            raise Unmeasurable("the replaying broker has no stdin")
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        return float(self._answer())

    def _answer(self) -> str:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise Unmeasurable("the replaying broker has ended")
        return line


@contextmanager
def replaying(qos: int) -> Iterator[Replaying]:
    """A broker that replays ready frames at this QoS, for one client."""
    argv = [sys.executable, "-m", "bench.replay", str(qos)]
    root = Path(__file__).parents[1]
    with subprocess.Popen(argv, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Replaying(process)
        finally:
            process.kill()
