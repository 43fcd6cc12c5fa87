"""Messages to measure with: put into the inbox by the verb of ingest, or published by a client that is not ours."""

from __future__ import annotations

import subprocess
import time

from bench.servers import HOST, Unmeasurable, program
from bench.system import TOPIC, TRIGGER, System
from shared.definitions import encode_definition
from shared.envelope import ENVELOPE_VERSION, Envelope, QoS, encode_envelope
from shared.scripts import ingest
from shared.scripts.ingest import Admission

PAYLOAD_BYTES = 64
BATCH = 1000
CONFIRM_S = 120.0


def payloads(count: int) -> bytes:
    """So many different payloads of PAYLOAD_BYTES, a line each."""
    return b"".join(b"%0*d\n" % (PAYLOAD_BYTES, number) for number in range(count))


def admit(system: System, count: int, qos: QoS) -> None:
    """Put messages into the inbox as ingest does it."""
    store, session = system.store, system.trigger.session
    token = store.run(ingest.lease_acquire(session, "bench", 600_000)).token
    store.run(ingest.session_open(session, token, TRIGGER, system.trigger.client_id))
    store.run(ingest.session_epoch(session, token, 1, 5))
    version, _ = encode_definition(system.trigger)
    call = 1
    for first in range(0, count, BATCH):
        now_ms = time.time_ns() // 1_000_000
        batch = [_envelope(version, number, qos, now_ms) for number in range(first, min(first + BATCH, count))]
        call += 1
        admission = Admission(received=len(batch), envelopes=batch)
        store.run(ingest.admit(session, token, call, TRIGGER, now_ms, 10_000, admission))


def _envelope(trigger_version: str, number: int, qos: QoS, now_ms: int) -> bytes:
    return encode_envelope(
        Envelope(
            version=ENVELOPE_VERSION,
            trigger=TRIGGER,
            trigger_version=trigger_version,
            topic=TOPIC,
            payload=b"%0*d" % (PAYLOAD_BYTES, number),
            qos=qos,
            retain=False,
            dup=False,
            packet_id=number % 65_535 + 1 if qos else 0,
            received_at=now_ms,
            protocol=5,
            filters=[0],
        )
    )


def publish(port: int, count: int, qos: int) -> None:
    """Publish messages at full speed; returns when the broker has confirmed all. Raises Unmeasurable."""
    argv = [program("mosquitto_pub"), "-h", HOST, "-p", str(port), "-V", "5", "-q", str(qos), "-t", TOPIC, "-l"]
    done = subprocess.run(argv, input=payloads(count), capture_output=True, timeout=CONFIRM_S, check=False)
    if done.returncode:
        raise Unmeasurable(f"mosquitto_pub failed: {done.stderr.decode(errors='replace')}")
