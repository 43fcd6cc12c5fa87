"""From publish to a recorded run: how many a second, and how soon does the code start?

Two figures: messages published at full speed at QoS 1, from the publisher's start until the last run is recorded; and,
at a calm rate, the time from publish to the first line of the code, by the clock of this machine.
"""

from __future__ import annotations

import base64
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from statistics import quantiles

import msgspec
import paho.mqtt.client as mqtt

from bench.lab import Lab
from bench.load import PAYLOAD_BYTES, publish
from bench.processes import Processes
from bench.servers import HOST, Unmeasurable, mosquitto, program, valkey
from bench.system import NO_OP, TOPIC, TRIGGER, System
from bench.table import Missing, Row, Target
from shared import keys

COUNT = 20_000
RATE_TARGET = Target(of_ratio=False, limit=9_000)
"""Ten times what paho and Celery do on such a machine."""
PER_SECOND = 50
SECONDS = 30
P50_TARGET = Target(of_ratio=False, limit=5, at_most=True)
PROCESSES = ("ingest", "dispatch", "worker")
STOPWATCH = """\
import time


def main(payload: bytes):
    return time.time_ns() - int(payload)
"""


def measure(lab: Lab) -> list[Row | Missing]:
    """Full speed, then latency; the memory of each process goes along with the first."""
    rows = [lab.row("end to end", partial(_full_speed, lab))]
    return [*rows, *_latency(lab)]


@contextmanager
def pipeline(lab: Lab, port: int, qos: int, script: str) -> Iterator[tuple[System, Processes]]:
    """Everything that a message goes through, started and subscribed, and the processes by name."""
    with ExitStack() as stack:
        url, redis_pid = stack.enter_context(valkey(lab.folder(), "always"))
        system = System(url, lab.folder())
        system.deploy(port, qos, script)
        pids = {name: stack.enter_context(system.process(name)) for name in PROCESSES}
        system.wait_until(system.is_subscribed, "the subscription of ingest")
        publish(port, 1, qos)  # the runner starts with the first message
        system.wait_until(lambda: system.cell("succeeded") == 1, "the first run")
        yield system, Processes(pids | {"valkey": redis_pid})


def _full_speed(lab: Lab) -> Row:
    what = f"end to end, {COUNT:,} messages at QoS 1"
    with mosquitto(lab.folder()) as port:

        def ours() -> float:
            with pipeline(lab, port, 1, NO_OP) as (system, processes):
                before, begun = processes.memory(), time.monotonic()
                publish(port, COUNT, 1)
                ended = system.wait_until(lambda: system.cell("succeeded") > COUNT, f"{COUNT} recorded runs")
                lab.say(f"  MiB before → after: {processes.growth(before)}")
            return COUNT / (ended - begun)

        values, beside = lab.each_round(what, ours, partial(_mosquitto_sub, port))
    return Row(what, "runs/s", values, "mosquitto_sub, no runs", beside, RATE_TARGET)


def _mosquitto_sub(port: int) -> float:
    argv = [program("mosquitto_sub"), "-V", "5", "-h", HOST, "-p", str(port), "-q", "1", "-t", TOPIC, "-C", str(COUNT)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as subscriber:
        time.sleep(0.5)  # it does not say when it has subscribed
        begun = time.monotonic()
        publish(port, COUNT, 1)
        if subscriber.wait(60):
            raise Unmeasurable("mosquitto_sub failed")
        return COUNT / (time.monotonic() - begun)


def _latency(lab: Lab) -> list[Row | Missing]:
    what = f"publish → code started, {PER_SECOND}/s for {SECONDS} s at QoS 1"
    lab.say(what)
    try:
        with mosquitto(lab.folder()) as port, pipeline(lab, port, 1, STOPWATCH) as (system, _):
            _publish_calmly(port, SECONDS * PER_SECOND)
            system.wait_until(lambda: system.cell("succeeded") > SECONDS * PER_SECOND, "recorded runs")
            took = _results_ms(system)
    except Unmeasurable as error:
        return [Missing(what, str(error))]
    cuts = quantiles(took, n=100)
    return [
        Row(f"{what}: p50", "ms", [cuts[49]], target=P50_TARGET),
        Row(f"{what}: p99", "ms", [cuts[98]]),
        Row(f"{what}: max", "ms", [max(took)]),
    ]


def _publish_calmly(port: int, count: int) -> None:
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
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
