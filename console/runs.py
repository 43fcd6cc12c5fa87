"""Runs as the console reads and changes them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from console.callers import Caller, RunCaller
from console.errors import forbidden, not_found
from shared import keys
from shared.clock import iso_utc
from shared.create_runs import Family
from shared.history import RunDetails, make_details, read_due
from shared.run_record import FIELDS, is_run_id, read_data, read_head
from shared.runs import LIVE
from shared.scripts.call import Arg
from shared.scripts.history import forget, resolve
from shared.scripts.operate import MadeRun, cancel, create_runs
from shared.store import AsyncStore, Store
from shared.tracing.runs import TracedRun, carried, code_context

LISTED_MAX = 1000
PORTION = 50
BYTES_AT_ONCE = 8 * 1024 * 1024
"""A message may have many MiB."""
Entry = tuple[bytes, Mapping[bytes, bytes]]
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_USER_STATE = "user_state:"
_EXTRA = ("cancelled_by", "cancel_reason", "progress", "resolved_at", "resolved_by", "resolved_note")


class Found(msgspec.Struct, frozen=True):
    """A run with what only the console cares about. `progress` is a percentage; texts are '' where there is nothing."""

    details: RunDetails
    cancelled_by: str
    cancel_reason: str
    progress: int | None
    resolved_at: str = ""
    resolved_by: str = ""
    resolved_note: str = ""

    @property
    def worker(self) -> str:
        """The one that has started it last."""
        return self.details.run.worker or ""

    @property
    def id(self) -> str:
        """Its run id."""
        return self.details.run.id

    @property
    def is_live(self) -> bool:
        """It has not ended."""
        return self.details.run.state in LIVE


class Runs:
    """Runs, for a caller who may see them."""

    def __init__(self, store: AsyncStore) -> None:
        self._store = store

    async def get(self, name: str, caller: Caller) -> Found:
        """A run. Raises Refusal: 404 where there is none, 403 where it is not the caller's to see."""
        run_id = run_id_of(name)
        found = (await self._read([run_id]))[0] if is_run_id(run_id) else None
        if found is None:
            raise not_found(f"Job not found: {name}")
        if not caller.may_see(run_id, found.details.parent, found.details.root):
            raise forbidden(f"{caller.name} has not started job {run_id}")
        return found

    async def log(self, found: Found) -> str:
        """What the code has printed, of all attempts, and of the one that is executed as far as its worker has told."""
        fields = await self._store.command("HMGET", keys.live_log(found.id), "execution", "text")
        execution, text = [(value or b"").decode("utf-8", "replace") for value in fields]
        logs = [attempt.log for attempt in found.details.attempts]
        if execution and all(attempt.execution_id != execution for attempt in found.details.attempts):
            logs.append(text)
        return "".join(logs)

    async def family(self, caller: Caller) -> Family | None:
        """Where a run that the caller starts will stand; None where no run starts it."""
        if not isinstance(caller, RunCaller):
            return None
        data, execution = await self._store.command("HMGET", keys.job(caller.run_id), "data", "execution")
        spec, message = read_data(data)
        if spec is None:
            return Family(caller.run_id, caller.run_id)
        trace = carried(code_context(TracedRun(caller.run_id, (execution or b"").decode(), spec, message)))
        return Family(caller.run_id, spec.root or caller.run_id, spec.cause_by(message), trace)

    async def create(self, run: MadeRun) -> bool:
        """Queue a run, now or when it is due; False: there is one with this id."""
        now_ns = time.time_ns()
        return await self._store.run(create_runs([run], iso_utc(now_ns), now_ns // 1000)) == 1

    async def cancel(self, run_id: str, caller: Caller, reason: str) -> str:
        """Cancel a run that is queued, ask the worker of one that is executed to stop it; the state that it had."""
        now_ns = time.time_ns()
        return await self._store.run(cancel(run_id, iso_utc(now_ns), now_ns // 1_000_000, caller.name, reason))

    async def forget(self, run_id: str) -> Literal["forgotten", "not ended", "unknown"]:
        """Forget a run that has ended, with all that is kept of it."""
        return await self._store.run(forget(run_id))

    async def resolve(self, ids: Sequence[str], caller: Caller, note: str) -> list[bool]:
        """Note that these have been dealt with; for each whether it had ended badly."""
        return await self._store.run(resolve(ids, iso_utc(time.time_ns()), caller.name, note))

    async def unresolve(self, ids: Sequence[str]) -> list[bool]:
        """Take the note away."""
        return await self._store.run(resolve(ids, "", "", ""))

    async def set_progress(self, run_id: str, percent: int) -> None:
        """Note how far a run has come."""
        await self._store.command("HSET", keys.job(run_id), "progress", percent)

    async def set_user_state(self, run_id: str, key: str, value: msgspec.Raw) -> None:
        """Keep JSON under a key with the run of a flow, which lives."""
        await self._store.command("HSET", keys.job(run_id), f"{_USER_STATE}{key}", bytes(value))

    async def user_state(self, run_id: str, key: str) -> Any:
        """What is kept under a key, or None."""
        blob = await self._store.command("HGET", keys.job(run_id), f"{_USER_STATE}{key}")
        return None if blob is None else msgspec.json.decode(blob)

    async def is_draining(self, worker: str) -> bool:
        """Whether a worker has been asked to stop."""
        return await self._store.command("HGET", keys.rq_worker(worker), "shutdown_requested_date") is not None

    async def _read(self, ids: Sequence[str]) -> list[Found | None]:
        return _founds(ids, await self._store.commands(_commands(ids)))


def run_id_of(name: str) -> str:
    """The id of a run; one that was started with a `job_id` of the caller's own is known by that too."""
    return f"q2-{name.lower()}" if _UUID.fullmatch(name) else name


def read_founds(store: Store, ids: Sequence[str]) -> Iterator[Found]:
    """The runs with these ids, in their order, without those that are not there."""
    for i in range(0, len(ids), PORTION):
        portion = ids[i : i + PORTION]
        sizes = store.commands([("HSTRLEN", keys.job(run_id), "data") for run_id in portion])
        for some in _portions(portion, sizes):
            yield from filter(None, _founds(some, store.commands(_commands(some))))


def _portions(ids: Sequence[str], sizes: Sequence[int]) -> Iterator[list[str]]:
    portion: list[str] = []
    total = 0
    for run_id, size in zip(ids, sizes, strict=True):
        if portion and total + size > BYTES_AT_ONCE:
            yield portion
            portion, total = [], 0
        portion.append(run_id)
        total += size
    if portion:
        yield portion


def _commands(ids: Sequence[str]) -> list[tuple[Arg, ...]]:
    commands: list[tuple[Arg, ...]] = []
    for run_id in ids:
        job = keys.job(run_id)
        commands += (("HMGET", job, *FIELDS), ("HMGET", job, "data", *_EXTRA))
        commands += (("XRANGE", keys.results(run_id), "-", "+"), ("ZSCORE", keys.RQ_SCHEDULED, run_id))
        commands.append(("ZSCORE", keys.RUNS, run_id))
    return commands


def _founds(ids: Sequence[str], replies: Sequence[Any]) -> list[Found | None]:
    return [_found(run_id, *replies[5 * i : 5 * i + 5]) for i, run_id in enumerate(ids)]


def _found(
    run_id: str,
    fields: list[bytes | None],
    rest: list[bytes | None],
    entries: Sequence[Entry],
    due_s: bytes | None,
    listed: bytes | None,
) -> Found | None:
    data, *extra = rest
    head = read_head(run_id, fields, len(data or b""), listed)
    if head is None:
        return None
    cancelled_by, reason, progress, *resolved = [(value or b"").decode() for value in extra]
    details = msgspec.structs.replace(make_details(head, data, entries), due_at=read_due(due_s))
    return Found(details, cancelled_by, reason, int(progress) if progress else None, *resolved)
