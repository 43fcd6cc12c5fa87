"""The verbs of the worker: claim, start, finish, and settling what dead workers leave."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec

from shared import keys
from shared.clock import iso_utc
from shared.scripts.call import Arg, Call
from shared.scripts.history import Forgotten, read_forgotten
from shared.scripts.operate import MadeRun

Outcome = Literal["succeeded", "failed", "interrupted", "crashed", "stopped", "retry", "recovered"]
_CLAIM_FIELDS = 9


class Claim(msgspec.Struct, frozen=True):
    """A run that this worker holds. `stage` is `claimed` or `started`; `attempts` counts recorded starts so far,
    `retries` those of them that a retry policy has followed up.

    `counted`: the trigger in whose counters it stands, `-` for a run outside of them; '' leaves it to be looked up.
    `queued_at`: ISO 8601, empty where it is not known. `is_fresh`: it is a child that has recorded nothing as a flow.
    """

    run_id: str
    execution: str
    data: bytes
    timeout_s: float | None
    attempts: int
    stage: str = "claimed"
    counted: str = ""
    retries: int = 0
    queued_at: bytes = b""
    is_fresh: bool = False


class Claims(msgspec.Struct, frozen=True):
    """`state`: taken | suspended (by RQ's tool) | lapsed (the worker must beat first)."""

    state: Literal["taken", "suspended", "lapsed"]
    claims: list[Claim]


class Ending(msgspec.Struct, frozen=True):
    """How a started run ended; texts are empty where there is nothing to say, `counted` is that of the claim.

    `retry`: it failed, and is to be tried again after `delay_ms`. `recovered`: it is the run of an error handler, and
    has succeeded in such a way that the run which had failed counts as succeeded too. `noted`: see `run_record.Noted`.
    `outgoing` are the messages that are published with it, as broker, trigger and encoded `Outgoing`.
    """

    run_id: str
    execution: str
    outcome: Outcome
    result: str = ""
    traceback: str = ""
    error: str = ""
    log: str = ""
    counted: str = ""
    delay_ms: int = 0
    noted: str = ""
    outgoing: Sequence[tuple[str, str, bytes]] = ()


class Limits(msgspec.Struct, frozen=True):
    """`max_crashes`: recorded starts of a QoS 1 run; `dead_max`: dead letters kept."""

    max_crashes: int
    dead_max: int


class Swept(msgspec.Struct, frozen=True):
    """What a sweep settled. `workers` -1: the sweeper itself is not known to live."""

    workers: int
    queued: int
    lost: int
    interrupted: int
    failed: int


def beat(worker: str, ttl_ms: int, generation: int = 1) -> Call[bool]:
    """The worker lives; False when its lease had lapsed (or at its first beat).

    `generation` grows whenever the worker has lost touch with Redis: sweeps it asked for before are then void.
    """
    return Call(
        "worker_beat", [keys.worker(worker), keys.WORKERS], [worker, ttl_ms, generation], lambda reply: reply == 1
    )


def claim(worker: str, prefix: str, count: int, max_bytes: int) -> Call[Claims]:
    """Take up to `count` runs. After a lost reply: `read_claims`. What has expired by now ends instead."""

    def decode(reply: list[Any]) -> Claims:
        if reply[0] != 1:
            return Claims("suspended" if reply[0] == 0 else "lapsed", [])
        flat = reply[1:]
        rows = (flat[i : i + _CLAIM_FIELDS] for i in range(0, len(flat), _CLAIM_FIELDS))
        return Claims("taken", [_claimed(*row) for row in rows])

    return Call(
        "claim",
        [
            keys.RQ_QUEUE,
            keys.claims(worker),
            keys.RQ_SUSPENDED,
            keys.worker(worker),
            keys.RQ_SCHEDULED,
            keys.RQ_CANCELED,
        ],
        [prefix, count, max_bytes, iso_utc(time.time_ns())],
        decode,
    )


def read_claims(worker: str) -> Call[list[Claim]]:
    """Everything that the worker holds."""

    def decode(flat: list[Any]) -> list[Claim]:
        found = []
        for i in range(0, len(flat), _CLAIM_FIELDS):
            run_id, held, data, timeout, attempts, retries, counted, queued_at, fresh = flat[i : i + _CLAIM_FIELDS]
            execution, stage = held.split(b" ")
            row = (run_id, execution, data, timeout, attempts, retries, counted, queued_at, fresh, stage.decode())
            found.append(_claimed(*row))
        return found

    return Call("read_claims", [keys.claims(worker)], [], decode)


def start(worker: str, now_iso: str, claims: Iterable[Claim]) -> Call[list[bool] | None]:
    """Record starts, in order: True may run, False is no longer this worker's. None: the worker must beat first.

    Idempotent for the same execution ids.
    """
    args: list[Arg] = [worker, now_iso]
    for item in claims:
        args += (item.run_id, item.execution, item.counted)
    return Call(
        "start",
        [keys.claims(worker), keys.RQ_STARTED, keys.worker(worker)],
        args,
        lambda reply: None if reply[:1] == [-1] else [answer == 1 for answer in reply],
    )


def release(worker: str, claims: Iterable[Claim]) -> Call[int]:
    """Put claimed runs that were not started back to the front of the queue."""
    args: list[Arg] = []
    for item in claims:
        args += (item.run_id, item.execution)
    return Call("release", [keys.claims(worker), keys.RQ_QUEUE], args, int)


def finish(
    worker: str, now_iso: str, now_ms: int, limits: Limits, worked_s: float, endings: Sequence[Ending]
) -> Call[list[str]]:
    """Record how runs ended; the reply is each run's new state, empty where it was no longer this worker's.

    Idempotent for the same execution ids.
    """
    args: list[Arg] = [worker, now_iso, now_ms, limits.max_crashes, limits.dead_max, worked_s, len(endings)]
    for item in endings:
        outcome = f"retry {item.delay_ms}" if item.outcome == "retry" else item.outcome
        args += (item.run_id, item.execution, item.counted, outcome)
        args += (item.result, item.traceback, item.error, item.log, item.noted)
    for number, item in enumerate(endings, start=1):
        for message in item.outgoing:
            args += (number, *message)
    return Call(
        "finish",
        [
            keys.claims(worker),
            keys.RQ_QUEUE,
            keys.RQ_STARTED,
            keys.RQ_FINISHED,
            keys.RQ_FAILED,
            keys.RQ_CANCELED,
            keys.rq_worker(worker),
            keys.DEAD,
            keys.DEAD_LETTERS,
            keys.RQ_SCHEDULED,
        ],
        args,
        lambda reply: [state.decode() for state in reply],
    )


def sweep(  # noqa: PLR0913 - one argument per part of the atomic step
    sweeper: str,
    now_iso: str,
    now_ms: int,
    limits: Limits,
    most: int,
    error: str,
    traceback: str,
    *,
    generation: int = 1,
    fresh_ms: int = 0,
) -> Call[Swept]:
    """Settle up to `most` runs of dead workers. Callers have held their own lease without a gap for twice its time.

    Nothing is done when, at the moment that Redis carries it out, the sweeper's lease is not of this generation or
    lasts for less than `fresh_ms`.
    """
    return Call(
        "sweep",
        [
            keys.WORKERS,
            keys.RQ_QUEUE,
            keys.RQ_STARTED,
            keys.RQ_FAILED,
            keys.RQ_CANCELED,
            keys.DEAD,
            keys.DEAD_LETTERS,
            keys.worker(sweeper),
            keys.RQ_WORKERS,
            keys.RQ_QUEUE_WORKERS,
        ],
        [now_iso, now_ms, limits.max_crashes, limits.dead_max, most, error, traceback, generation, fresh_ms],
        lambda reply: Swept(*reply),
    )


class Promoted(msgspec.Struct, frozen=True):
    """`queued`: runs whose time had come; `unhandled`: ended runs that wait for their error handler."""

    queued: int
    unhandled: int


def promote(now_iso: str, most: int) -> Call[Promoted]:
    """Queue at most so many of the runs whose time has come. May be repeated, and called by any number of workers."""
    return Call(
        "promote",
        [keys.RQ_SCHEDULED, keys.RQ_QUEUE, keys.HANDLERS],
        [now_iso, most],
        lambda reply: Promoted(*reply),
    )


def create_handler(failed: str, handler: MadeRun | None, now_iso: str, now_us: int) -> Call[bool]:
    """The run of the error handler for the run `failed`, or None where none can be made: then it no longer waits.

    Whether it was created. May be repeated.
    """
    args: list[Arg] = [now_iso, now_us, keys.QUEUE, failed]
    if handler is None:
        args += ("", "", "", 0, "")
    else:
        args += (handler.id, handler.data, handler.description, handler.timeout_s, handler.source)
    return Call(
        "create_handler",
        [keys.HANDLERS, keys.RQ_QUEUE, keys.RQ_QUEUES, keys.RUNS],
        args,
        lambda reply: reply == 1,
    )


def prune(registry: str, keep: int, ended_before_s: float, step: int) -> Call[Forgotten]:
    """Forget the oldest ended runs of an RQ registry, at most `step`."""
    return Call("prune", [registry, keys.RUNS, keys.DEAD], [keep, ended_before_s, step], read_forgotten)


def _claimed(  # noqa: PLR0913, PLR0917 - the fields of a claim as Redis gives them
    run_id: bytes,
    execution: bytes,
    data: bytes,
    timeout: bytes,
    attempts: int,
    retries: int,
    counted: bytes,
    queued_at: bytes,
    fresh: int,
    stage: str = "claimed",
) -> Claim:
    return Claim(
        run_id.decode(), execution.decode(), data, _seconds(timeout), attempts, stage, counted.decode(), retries,
        queued_at, fresh == 1,
    )  # fmt: skip


def _seconds(text: bytes) -> float | None:
    return float(text) if text else None
