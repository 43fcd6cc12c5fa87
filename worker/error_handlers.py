"""Error handlers: the run that is made for a run that has ended badly."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from shared import keys
from shared.clock import NS_PER_S, iso_utc
from shared.create_runs import make_handler_run
from shared.definitions import Trigger
from shared.errors import HeadraceError, NewerEnvelope, StoreUnavailable
from shared.events import emit
from shared.run_record import Attempt, read_attempt
from shared.runs import RunSpec, decode_job
from shared.scripts.call import Arg
from shared.scripts.operate import MadeRun
from shared.scripts.worker import create_handler
from shared.store import Store
from shared.tracing.runs import TracedRun, carried, code_context
from worker.environment import USER
from worker.scripts import Triggers
from worker.uplink import Uplink

AT_ONCE = 50
_NS_PER_US = NS_PER_S // 1_000_000
_TRIGGER_KIND = "mqtt_trigger"
_STEP = "a"
_NOT_EXECUTED = {"name": "NotExecuted", "message": "the worker died before the code was started", "stack": ""}


class _Failed(msgspec.Struct, frozen=True):
    """A run that has ended badly, as far as its record is there."""

    run_id: str
    data: bytes
    started_at: str | None
    last: Attempt | None


class ErrorHandlers:
    """Makes the runs of error handlers, each once: its id is that of the run which failed, with `-eh`.

    Any worker may do it, and several at once; one that dies leaves the rest to the others.
    """

    def __init__(self, uplink: Uplink, triggers: Triggers, workspace: str) -> None:
        self._uplink = uplink
        self._triggers = triggers
        self._workspace = workspace

    def call(self) -> bool:
        """Make some of the runs that wait; True when there may be more."""
        failed = self._uplink.attempt(_read_waiting)
        if not failed:
            return False
        now_ns = time.time_ns()
        calls = []
        for each in failed:
            try:
                handler = self._handler_run(each)
            except (NewerEnvelope, StoreUnavailable):  # left to a worker of that release, or to one that lives on
                continue
            calls.append(create_handler(each.run_id, handler, iso_utc(now_ns), now_ns // _NS_PER_US))
        done = self._uplink.attempt(lambda store: store.run_many(calls)) if calls else None
        return done is not None and len(failed) == AT_ONCE

    def _handler_run(self, failed: _Failed) -> MadeRun | None:
        """None where it has no handler that could be called; that is told. Raises NewerEnvelope, StoreUnavailable."""
        try:
            spec = decode_job(failed.data)
            message = spec.message()
            trigger = self._triggers.trigger(message.trigger_version) if message else None
        except (NewerEnvelope, StoreUnavailable):
            raise
        except HeadraceError as error:
            emit("run.unhandled", run=failed.run_id, reason=error.message)
            return None
        handler = trigger.handler_of(spec.runnable) if trigger else None
        runnable = trigger.runnables.get(handler.path) if trigger and handler else None
        if trigger is None or handler is None or runnable is None:
            emit("run.unhandled", run=failed.run_id, reason="its trigger names no error handler that was deployed")
            return None
        args = msgspec.json.encode(self._arguments(failed, spec, trigger) | handler.args)
        execution = failed.last.execution_id if failed.last else ""
        trace = carried(code_context(TracedRun(failed.run_id, execution, spec, message)))
        return make_handler_run(failed.run_id, runnable, args, spec.cause_by(message), trace)

    def _arguments(self, failed: _Failed, spec: RunSpec, trigger: Trigger) -> dict[str, Any]:
        """Windmill's, for the error handler of a trigger."""
        error = failed.last.error if failed.last and failed.last.error else _NOT_EXECUTED
        return {
            "error": {**error, "step_id": error.get("step_id") or _STEP},
            "path": spec.runnable,
            "is_flow": spec.is_flow,
            "trigger_path": f"{_TRIGGER_KIND}/{trigger.path}",
            "workspace_id": self._workspace,
            "email": f"{USER}@localhost",
            "job_id": failed.run_id,
            "started_at": failed.started_at,
        }


def _read_waiting(store: Store) -> list[_Failed]:
    ids: Sequence[bytes] = store.command("LRANGE", keys.HANDLERS, 0, AT_ONCE - 1)
    commands: list[tuple[Arg, ...]] = []
    for raw in ids:
        run_id = raw.decode()
        commands.append(("HMGET", keys.job(run_id), "data", "started_at"))
        commands.append(("XREVRANGE", keys.results(run_id), "+", "-", "COUNT", 1))
    replies = store.commands(commands)
    return [
        _Failed(
            raw.decode(),
            data or b"",
            started_at.decode() if started_at else None,
            read_attempt(entries[0]) if entries else None,
        )
        for raw, (data, started_at), entries in zip(ids, replies[::2], replies[1::2], strict=True)
    ]
