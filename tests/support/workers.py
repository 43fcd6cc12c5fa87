"""Runs for real workers: scripts deployed and runs queued by the verbs alone, and what became of them."""

from __future__ import annotations

import zlib
from base64 import b64decode
from itertools import count
from pathlib import Path
from textwrap import dedent
from typing import Any

import msgspec

from shared import keys
from shared.definitions import Script, encode_definition
from shared.envelope import encode_envelope
from shared.runs import RunSpec, encode_job
from shared.scripts.dispatch import NewRun, Placement, place
from shared.store import Store
from tests.support.factories import NOW_ISO, NOW_MS, TRIGGER, HeldSession, make_envelope, read_entries

SCRIPT = "f/t/script"
LEASE_MS = 1200
FAST = {"HEADRACE_WORKER__LEASE_TTL_MS": str(LEASE_MS)}
"""A sweep after 2.4 s instead of 12."""

_sessions = count()


class Journal:
    """What really ran, as the scripts wrote it, independent of what Redis says."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "journal"
        self._gate = folder / "gate"

    @property
    def source(self) -> str:
        """A script that notes each execution. The first attempt at the payload `hold` then waits for `open_gate`."""
        return dedent(f"""
            import os, time
            import headrace

            def main(payload: bytes):
                with open({str(self._file)!r}, "a") as journal:
                    journal.write(headrace.run.id + "\\n")
                while payload == b"hold" and headrace.run.attempt == 1 and not os.path.exists({str(self._gate)!r}):
                    time.sleep(0.01)
                print("attempt", headrace.run.attempt)
                return payload.decode()
            """)

    def open_gate(self) -> None:
        """Let the held runs go on."""
        self._gate.touch()

    def executed(self) -> list[str]:
        """Run ids in the order of execution, once per execution."""
        return self._file.read_text().split() if self._file.exists() else []


def deploy(store: Store, source: str, **changes: Any) -> str:
    """Put a script among the definitions; its version."""
    script = Script(SCRIPT, "python3", "f/t/script.py", {"f/t/script.py": dedent(source)}, **changes)
    version, blob = encode_definition(script)
    store.command("HSET", keys.DEFINITIONS, version, blob)
    return version


def queue_runs(
    store: Store, version: str, *run_ids: str, payload: bytes = b"go", timeout_s: int = 60, envelope: bytes = b""
) -> None:
    """Put runs of this script version into the queue, each from an admitted message; `envelope` replaces the run's."""
    session = f"session{next(_sessions)}"
    envelopes = [make_envelope(qos=int(run_id[1]), payload=payload) for run_id in run_ids]
    HeldSession(store, session, session).admit(*envelopes)
    placements = []
    for entry, run_id, message in zip(read_entries(store), run_ids, envelopes, strict=True):
        spec = RunSpec(TRIGGER, SCRIPT, version, run_id[3:], {}, envelope or encode_envelope(message))
        placements.append(Placement(entry, TRIGGER, "run", [NewRun(run_id, encode_job(spec), SCRIPT, timeout_s)]))
    store.run(place(placements, NOW_ISO, NOW_MS * 1000, 1000))


def states(store: Store, *run_ids: str) -> list[str]:
    """What Redis says of these runs."""
    replies = store.commands([("HGET", keys.job(run_id), "state") for run_id in run_ids])
    return [reply.decode() for reply in replies]


def attempts(store: Store, run_id: str) -> int:
    """How often the run was started."""
    return int(store.command("HGET", keys.job(run_id), "attempts"))


def last_attempt(store: Store, run_id: str) -> dict[str, Any]:
    """The newest entry of the run's results: result, error and log as a person reads them."""
    entries = store.command("XREVRANGE", keys.results(run_id), "+", "-", "COUNT", 1)
    fields: dict[str, Any] = {name.decode(): value.decode() for name, value in dict(entries[0][1]).items()}
    if "return_value" in fields:
        fields["result"] = msgspec.msgpack.decode(b64decode(fields.pop("return_value")))
    if "exc_string" in fields:
        fields["traceback"] = zlib.decompress(b64decode(fields.pop("exc_string"))).decode()
    if "error" in fields:
        fields["error"] = msgspec.json.decode(fields["error"])
    return fields


def claims_left(store: Store) -> int:
    """Claims of all workers, dead or alive, that nobody has settled."""
    names = [name.decode() for name in store.command("SMEMBERS", keys.WORKERS)]
    return sum(store.command("HLEN", keys.claims(name)) for name in names)
