"""Valid records with only what a test cares about spelled out."""

from __future__ import annotations

from typing import Any

from shared.definitions import Runnable, Topic, Trigger
from shared.envelope import ENVELOPE_VERSION, Envelope, encode_envelope
from shared.runs import RunSpec, encode_job
from shared.scripts import ingest
from shared.scripts.dispatch import NewRun, Placement
from shared.scripts.ingest import Admission
from shared.scripts.operate import OnRecord
from shared.store import Store

TRIGGER = "f/demo/hello"
VERSION = "0123456789abcdef"
RUNNABLE = Runnable("f/demo/on_hello", "fedcba9876543210", 60)
SESSION = "abcdefgh"
NOW_ISO = "2026-01-02T03:04:05.000000Z"
NOW_MS = 1_767_323_045_000
ON_RECORD = OnRecord(b"{}", b"{}")
"""Of a deployment of which nobody reads the list."""


def make_envelope(**changes: Any) -> Envelope:
    """An envelope of a QoS 1 message on demo/hello, with these fields changed."""
    fields: dict[str, Any] = {
        "version": ENVELOPE_VERSION,
        "trigger": TRIGGER,
        "trigger_version": VERSION,
        "topic": "demo/hello",
        "payload": b"21.5",
        "qos": 1,
        "retain": False,
        "dup": False,
        "packet_id": 7,
        "received_at": NOW_MS,
        "protocol": 5,
        "filters": [0],
        "properties": None,
    }
    return Envelope(**(fields | changes))


def make_trigger(*topics: Topic, **changes: Any) -> Trigger:
    """A trigger for these topics (demo/hello at QoS 1), with these fields changed."""
    fields: dict[str, Any] = {
        "path": TRIGGER,
        "session": SESSION,
        "client_id": "headrace-test",
        "broker": "f/demo/broker",
        "runnable": RUNNABLE.path,
        "runnables": {RUNNABLE.path: RUNNABLE},
        "topics": list(topics) or [Topic("demo/hello", 1)],
    }
    return Trigger(**(fields | changes))


class HeldSession:
    """A session whose lease the test holds: admits with call numbers in order."""

    def __init__(self, store: Store, session: str = SESSION, holder: str = "test") -> None:
        self.store = store
        self.session = session
        self.token = store.run(ingest.lease_acquire(session, holder, 60_000)).token
        self.opened = store.run(ingest.session_open(session, self.token, TRIGGER, "headrace-test"))
        self.call = 0
        self.epoch()

    def epoch(self) -> int:
        """Begin an epoch."""
        self.call += 1
        return self.store.run(ingest.session_epoch(self.session, self.token, self.call, 5))

    def admit(self, *envelopes: Envelope | bytes, **fields: Any) -> int:
        """Admit these messages as one batch; the length of the inbox."""
        blobs = [item if isinstance(item, bytes) else encode_envelope(item) for item in envelopes]
        self.call += 1
        known: dict[str, Any] = {"received": len(blobs), "envelopes": blobs}
        return self.repeat(Admission(**(known | fields)))

    def repeat(self, batch: Admission) -> int:
        """Send a batch under the current call number."""
        call = ingest.admit(self.session, self.token, self.call, TRIGGER, NOW_MS, 1000, batch)
        return self.store.run(call)


def make_run(run_id: str, **spec: Any) -> NewRun:
    """A run to be placed under this id."""
    fields: dict[str, Any] = {
        "trigger": TRIGGER,
        "runnable": RUNNABLE.path,
        "runnable_version": RUNNABLE.version,
        "idempotency_key": run_id[3:],
        "captures": {},
        "envelope": encode_envelope(make_envelope(qos=int(run_id[1]))),
    }
    return NewRun(run_id, encode_job(RunSpec(**(fields | spec))), RUNNABLE.path, RUNNABLE.timeout_s)


def place_runs(store: Store, *run_ids: str) -> None:
    """Put runs with these ids into the queue, each from an admitted message."""
    from shared.scripts.dispatch import place  # noqa: PLC0415 - keeps the factory's imports apart

    held = HeldSession(store, session="placedrun", holder="place_runs")
    held.admit(*[make_envelope(qos=int(run_id[1])) for run_id in run_ids])
    entries = read_entries(store)
    placements = [
        Placement(entry, TRIGGER, "run", [make_run(run_id)]) for entry, run_id in zip(entries, run_ids, strict=True)
    ]
    store.run(place(placements, NOW_ISO, NOW_MS * 1000, 1000))


def read_entries(store: Store, consumer: str = "test", count: int = 1000) -> list[bytes]:
    """Deliver what is in the inbox to a consumer; the stream ids."""
    reply = store.command("XREADGROUP", "GROUP", "dispatch", consumer, "COUNT", count, "STREAMS", "headrace:inbox", ">")
    return [row[0] for row in reply[0][1]] if reply else []


def counters(store: Store, trigger: str = TRIGGER) -> dict[str, int]:
    """The trigger's cells that are not zero."""
    cells = store.command("HGETALL", f"headrace:counters:{trigger}")
    return {name.decode(): int(value) for name, value in cells.items() if int(value)}


def run_fields(store: Store, run_id: str) -> dict[str, str]:
    """The run's record but for its data."""
    fields = store.command("HGETALL", f"rq:job:{run_id}")
    return {name.decode(): value.decode() for name, value in fields.items() if name != b"data"}
