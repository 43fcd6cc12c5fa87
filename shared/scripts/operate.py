"""The verbs of the operator and of the console: deploy, make and cancel runs, re-drive, look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from shared import keys
from shared.scripts.call import Arg, Call

_RETRIED: dict[int, Literal["queued", "not ended badly", "unknown"]] = {
    1: "queued",
    0: "not ended badly",
    -1: "unknown",
}

Hash = dict[str, str]


class MadeRun(msgspec.Struct, frozen=True):
    """A run that no message made: RQ job id, RQ job data, text for RQ's tools, seconds it may take, who made it.

    `trigger` is the one under which it is listed, '' for none; it is not counted there. `due_ms` (epoch): not before.
    `created_by` has asked for it, '' where that is not known.
    """

    id: str
    data: bytes
    description: str
    timeout_s: int
    source: str
    parent: str | None = None
    root: str | None = None
    trigger: str = ""
    due_ms: int | None = None
    created_by: str = ""


class OnRecord(msgspec.Struct, frozen=True):
    """A deployment for the list, which keeps `records_max`, and the stamp of each name that it changes (both JSON).

    `takes_place`: it holds all of the newest in the list, and goes where that one was.
    """

    record: bytes
    stamp: bytes
    takes_place: bool = False
    records_max: int = 200


class SessionChanges(msgspec.Struct, frozen=True):
    """Records (JSON) by id: of sessions that a deployment leaves behind, and, as they must be, of those it takes up."""

    left: dict[str, bytes] = {}
    taken: dict[str, bytes] = {}


_NO_SESSIONS = SessionChanges()


class SessionSnapshot(msgspec.Struct, frozen=True):
    """What Redis holds of a session. `lease` is `<token> <holder>`, empty when nobody holds it."""

    fields: Hash
    lease: str
    inflight: int


class WorkerSnapshot(msgspec.Struct, frozen=True):
    """A worker: whether its lease is held, what it has claimed and not started, what it runs, RQ's record of it."""

    name: str
    alive: bool
    claimed: int
    started: int
    fields: Hash


class Snapshot(msgspec.Struct, frozen=True):
    """Everything at one instant. Texts are empty where there is nothing."""

    now_us: int
    counters: dict[str, dict[str, int]]
    sessions: dict[str, SessionSnapshot]
    workers: list[WorkerSnapshot]
    inbox: int
    inbox_oldest: str
    queue: int
    queue_head_at: str
    started: int
    dead: int
    deployment: Hash
    deployed: Hash


def snapshot() -> Call[Snapshot]:
    """Read everything that status shows, in one step."""
    return Call(
        "snapshot",
        [
            keys.COUNTERS,
            keys.SESSIONS,
            keys.WORKERS,
            keys.INBOX,
            keys.RQ_QUEUE,
            keys.RQ_STARTED,
            keys.DEAD,
            keys.DEPLOYMENT,
            keys.DEPLOYED,
        ],
        [],
        _read_snapshot,
    )


def retry(
    run_id: str, now_iso: str, data: bytes = b"", timeout_s: int = 0
) -> Call[Literal["queued", "not ended badly", "unknown"]]:
    """Re-drive a run that ended badly; twice queues once. `data` is its job's with another version of the runnable."""
    args: list[Arg] = [run_id, now_iso, data, timeout_s]
    return Call("retry", [keys.RQ_QUEUE, keys.RQ_FAILED, keys.DEAD], args, _RETRIED.__getitem__)


def create_runs(runs: Sequence[MadeRun], now_iso: str, now_us: int) -> Call[int]:
    """Queue runs that no message made; how many were not there yet. May be repeated."""
    args: list[Arg] = [now_iso, now_us, keys.QUEUE]
    for run in runs:
        args += (run.id, run.data, run.description, run.timeout_s, run.source, run.parent or "", run.root or "")
        args += (run.trigger, "" if run.due_ms is None else run.due_ms / 1000, run.created_by)
    return Call("create_runs", [keys.RQ_QUEUE, keys.RQ_QUEUES, keys.RUNS, keys.RQ_SCHEDULED], args, int)


def cancel(run_id: str, now_iso: str, now_ms: int, who: str, reason: str) -> Call[str]:
    """Cancel a run; the state that it had, '' where there is none. What waits is cancelled at once, what
    is `running` by its worker, in its own time. May be repeated.
    """
    names = [keys.RQ_CANCELED, keys.RQ_SCHEDULED, keys.RQ_DEFERRED]
    return Call("cancel", names, [run_id, now_iso, now_ms, who, reason], bytes.decode)


def deploy(
    against: int,
    entry: OnRecord,
    definitions: Mapping[str, bytes],
    changed: Mapping[str, str],
    deleted: Sequence[str],
    *,
    sessions: SessionChanges = _NO_SESSIONS,
) -> Call[int]:
    """Make a deployment current; its number, or -1 when another deployment came between."""
    counts = len(sessions.taken), len(sessions.left)
    args: list[Arg] = [against, entry.record, len(definitions), len(changed), entry.records_max, *counts, entry.stamp]
    args.append(int(entry.takes_place))
    for session, blob in [*sessions.taken.items(), *sessions.left.items()]:
        args += (session, blob)
    for version, blob in definitions.items():
        args += (version, blob)
    for name, version in changed.items():
        args += (name, version)
    args += deleted
    names = [
        keys.DEPLOYMENT, keys.DEPLOYED, keys.DEFINITIONS, keys.DEPLOYMENTS, keys.LEFT, keys.DEPLOYED_NEWEST,
        keys.DEPLOYED_OLDEST,
    ]  # fmt: skip
    return Call("deploy", names, args, int)


def left_change(session_id: str, known: bytes, wanted: bytes) -> Call[bool]:
    """Put another record of a session that was left behind in the place of the known one; False: it is not there."""
    return Call("left_change", [keys.LEFT], [session_id, known, wanted], lambda reply: reply == 1)


def _read_snapshot(reply: list[Any]) -> Snapshot:
    now_us, counters, sessions, workers, inbox, oldest, queue, head_at, started, dead, deployment, deployed = reply
    return Snapshot(
        now_us=now_us,
        counters={
            trigger.decode(): {cell: int(count) for cell, count in _hash(cells).items()}
            for trigger, cells in _rows(counters, 2)
        },
        sessions={
            sid.decode(): SessionSnapshot(_hash(fields), lease.decode(), inflight)
            for sid, fields, lease, inflight in _rows(sessions, 4)
        },
        workers=[
            WorkerSnapshot(name.decode(), alive == 1, claimed, running, _hash(fields))
            for name, alive, claimed, running, fields in _rows(workers, 5)
        ],
        inbox=inbox,
        inbox_oldest=oldest.decode(),
        queue=queue,
        queue_head_at=head_at.decode(),
        started=started,
        dead=dead,
        deployment=_hash(deployment),
        deployed=_hash(deployed),
    )


def _rows(flat: list[Any], width: int) -> list[list[Any]]:
    return [flat[i : i + width] for i in range(0, len(flat), width)]


def _hash(flat: list[bytes]) -> Hash:
    return {name.decode(): value.decode("utf-8", "replace") for name, value in _rows(flat, 2)}
