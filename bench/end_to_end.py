"""How many messages a second come through, from publish to a recorded run; and how soon does their code start.

Two figures: messages published at full speed at QoS 1, from the publisher's start until the last run is recorded; and,
at a calm rate, the time from publish to the first line of the code, by the clock of this machine.
"""

from __future__ import annotations

import base64
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from statistics import quantiles

import msgspec
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from bench.celery_beside import CeleryBridge
from bench.lab import Lab
from bench.load import PAYLOAD_BYTES, publish
from bench.processes import Processes
from bench.servers import HOST, Aof, Unmeasurable, mosquitto, program, valkey
from bench.system import NO_OP, TOPIC, TRIGGER, System
from bench.table import Missing, Row, Target
from shared import keys

COUNT = 20_000
FULL_SPEED = f"end to end, {COUNT:,} messages at QoS 1"
CELERY_TARGET = Target(of_ratio=True, limit=10)
PER_SECOND = 50
SECONDS = 30
CALM = f"publish → code started, {PER_SECOND}/s for {SECONDS} s"
P50_TARGET = Target(of_ratio=False, limit=5, at_most=True)
PROCESSES = ("ingest", "dispatch", "worker")
STOPWATCH = """\
import time


def main(payload: bytes):
    return time.time_ns() - int(payload)
"""


def measure(lab: Lab) -> list[Row | Missing]:
    """Full speed, then latency; the memory of each process goes along with the first."""
    return [*lab.rows(FULL_SPEED, partial(_full_speed, lab)), *lab.rows(CALM, partial(_latency, lab))]


@contextmanager
def pipeline(lab: Lab, port: int, qos: int, script: str, aof: Aof = "always") -> Iterator[tuple[System, Processes]]:
    """Everything that a message goes through, started and subscribed, and the processes by name."""
    with ExitStack() as stack:
        url, redis_pid = stack.enter_context(valkey(lab.folder(), aof))
        system = System(url, lab.folder())
        system.deploy(port, qos, script)
        pids = {name: stack.enter_context(system.process(name)) for name in PROCESSES}
        system.wait_until(system.is_subscribed, "the subscription of ingest")
        publish(port, 1, qos)  # the runner starts with the first message
        system.wait_until(lambda: system.cell("succeeded") == 1, "the first run")
        yield system, Processes(pids | {"valkey": redis_pid})


def _full_speed(lab: Lab) -> list[Row]:
    before: dict[str, list[float]] = defaultdict(list)
    after: dict[str, list[float]] = defaultdict(list)
    with mosquitto(lab.folder()) as port:
        celery = CeleryBridge(lab, port)

        def ours(aof: Aof) -> float:
            with pipeline(lab, port, 1, NO_OP, aof) as (system, processes):
                _keep(before, processes.memory())
                begun = time.monotonic()
                publish(port, COUNT, 1)
                ended = system.wait_until(lambda: system.cell("succeeded") > COUNT, f"{COUNT} recorded runs")
                _keep(after, processes.memory())
            return COUNT / (ended - begun)

        durable, beside, floor = lab.each_round(
            FULL_SPEED, partial(ours, "always"), partial(celery.rate, "always"), partial(_mosquitto_sub, port)
        )
        in_memory, beside_in_memory = lab.each_round(
            f"{FULL_SPEED}, AOF none", partial(ours, "none"), partial(celery.rate, "none")
        )
    memory = [Row(f"memory of {name} after them", "MiB", after[name], "before", before[name]) for name in after]
    return [
        Row(f"{FULL_SPEED}, AOF always", "runs/s", durable, "paho → Celery", beside, CELERY_TARGET),
        Row(f"{FULL_SPEED}, AOF none", "runs/s", in_memory, "paho → Celery", beside_in_memory, CELERY_TARGET),
        Row(f"{FULL_SPEED}, AOF always", "runs/s", durable, "mosquitto_sub, no runs", floor),
        *memory,
    ]


def _keep(samples: dict[str, list[float]], memory: dict[str, float]) -> None:
    for name, mib in memory.items():
        samples[name].append(mib)


def _mosquitto_sub(port: int) -> float:
    argv = [program("mosquitto_sub"), "-V", "5", "-h", HOST, "-p", str(port), "-q", "1", "-t", TOPIC, "-C", str(COUNT)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as subscriber:
        time.sleep(0.5)  # it does not say when it has subscribed
        begun = time.monotonic()
        publish(port, COUNT, 1)
        if subscriber.wait(60):
            raise Unmeasurable("mosquitto_sub failed")
        return COUNT / (time.monotonic() - begun)


def _latency(lab: Lab) -> list[Row]:
    lab.say(CALM)
    with mosquitto(lab.folder()) as port, pipeline(lab, port, 1, STOPWATCH) as (system, _):
        _publish_calmly(port, SECONDS * PER_SECOND)
        system.wait_until(lambda: system.cell("succeeded") > SECONDS * PER_SECOND, "recorded runs")
        took = _results_ms(system)
    cuts = quantiles(took, n=100)
    return [
        Row(f"{CALM}: p50", "ms", [cuts[49]], target=P50_TARGET),
        Row(f"{CALM}: p99", "ms", [cuts[98]]),
        Row(f"{CALM}: max", "ms", [max(took)]),
    ]


def _publish_calmly(port: int, count: int) -> None:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.connect(HOST, port)
    client.loop_start()
    due = time.monotonic()
    for _ in range(count):
        due += 1 / PER_SECOND
        time.sleep(max(0.0, due - time.monotonic()))
        client.publish(TOPIC, b"%0*d" % (PAYLOAD_BYTES, time.time_ns()), qos=1)
    client.disconnect()
    client.loop_stop()


def _results_ms(system: System) -> list[float]:
    """What the runs returned, without that of the first message."""
    runs = system.store.command("ZRANGE", keys.runs(TRIGGER), 1, -1)
    entries = system.store.commands([("XREVRANGE", keys.results(run.decode()), "+", "-", "COUNT", 1) for run in runs])
    values = [dict(entry[0][1])[b"return_value"] for entry in entries]
    return [msgspec.msgpack.decode(base64.b64decode(value), type=int) / 1e6 for value in values]
