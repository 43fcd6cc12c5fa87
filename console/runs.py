"""Runs as the console reads and changes them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec

from console.callers import Caller, RunCaller
from console.errors import forbidden, not_found
from shared import keys
from shared.clock import iso_utc
from shared.create_runs import Family
from shared.history import RunDetails, make_details
from shared.run_record import FIELDS, is_run_id, read_data, read_head
from shared.runs import LIVE
from shared.scripts.call import Arg
from shared.scripts.operate import MadeRun, cancel, create_runs
from shared.store import AsyncStore
from shared.tracing.runs import TracedRun, carried, code_context

LISTED_MAX = 1000
PORTION = 50
Entry = tuple[bytes, Mapping[bytes, bytes]]
_EXTRA = ("worker_name", "cancelled_by", "cancel_reason", "progress")


class Found(msgspec.Struct, frozen=True):
    """A run with what only the console cares about. `progress` is a percentage; texts are '' where there is nothing."""

    details: RunDetails
    worker: str
    cancelled_by: str
    cancel_reason: str
    progress: int | None

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

    async def get(self, run_id: str, caller: Caller) -> Found:
        """A run. Raises Refusal: 404 where there is none, 403 where it is not the caller's to see."""
        found = (await self._read([run_id]))[0] if is_run_id(run_id) else None
        if found is None:
            raise not_found(f"Job not found: {run_id}")
        if not caller.may_see(run_id, found.details.parent, found.details.root):
            raise forbidden(f"{caller.name} has not started job {run_id}")
        return found

    async def visible(self, caller: Caller) -> AsyncIterator[Found]:
        """The newest LISTED_MAX runs, newest first; for a run, those that it has started, and then itself."""
        key = keys.children(caller.run_id) if isinstance(caller, RunCaller) else keys.RUNS
        ids = [each.decode() for each in await self._store.command("ZREVRANGE", key, 0, LISTED_MAX - 2)]
        if isinstance(caller, RunCaller):
            ids.append(caller.run_id)
        for i in range(0, len(ids), PORTION):
            for found in await self._read(ids[i : i + PORTION]):
                if found is not None:
                    yield found

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

    async def create(self, run: MadeRun) -> None:
        """Queue a run."""
        now_ns = time.time_ns()
        await self._store.run(create_runs([run], iso_utc(now_ns), now_ns // 1000))

    async def cancel(self, run_id: str, caller: Caller, reason: str) -> str:
        """Cancel a run that is queued, ask the worker of one that is executed to stop it; the state that it had."""
        now_ns = time.time_ns()
        return await self._store.run(cancel(run_id, iso_utc(now_ns), now_ns // 1_000_000, caller.name, reason))

    async def set_progress(self, run_id: str, percent: int) -> None:
        """Note how far a run has come."""
        await self._store.command("HSET", keys.job(run_id), "progress", percent)

    async def is_draining(self, worker: str) -> bool:
        """Whether a worker has been asked to stop."""
        return await self._store.command("HGET", keys.rq_worker(worker), "shutdown_requested_date") is not None

    async def _read(self, ids: Sequence[str]) -> list[Found | None]:
        commands: list[tuple[Arg, ...]] = []
        for run_id in ids:
            job = keys.job(run_id)
            results = ("XRANGE", keys.results(run_id), "-", "+")
            commands += (("HMGET", job, *FIELDS), ("HMGET", job, "data", *_EXTRA), results)
        replies = await self._store.commands(commands)
        return [_found(run_id, *replies[3 * i : 3 * i + 3]) for i, run_id in enumerate(ids)]


def _found(run_id: str, fields: list[bytes | None], rest: list[bytes | None], entries: Sequence[Entry]) -> Found | None:
    data, *extra = rest
    head = read_head(run_id, fields, len(data or b""))
    if head is None:
        return None
    worker, cancelled_by, reason, progress = [(value or b"").decode() for value in extra]
    details = make_details(head, data, entries)
    return Found(details, worker, cancelled_by, reason, int(progress) if progress else None)
