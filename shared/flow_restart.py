"""A run of a flow once more, from one of its steps on: what came before it is taken over as it was."""

from __future__ import annotations

import re
import secrets
import time

import msgspec

from shared import keys
from shared.again import ORIGIN, latest
from shared.clock import iso_utc
from shared.create_runs import DESCRIPTION_LENGTH
from shared.definitions import Flow, Runnable
from shared.deployment import definition_command, read_definition
from shared.errors import UserError
from shared.flow_taken import Taken
from shared.history import show
from shared.runs import LIVE, decode_job, encode_job
from shared.scripts.flows import restart
from shared.scripts.operate import MadeRun
from shared.store import Store

_TURN = re.compile(r"#\d+")


def restart_run(store: Store, run_id: str, step: str, latest_timeout_s: float | None, who: str = "") -> str:
    """Queue a new run that begins with what this one had recorded before `step`; its id.

    `step` is as in `shared.flow_taken`. It stands outside the identities. `who` asks for it. `latest_timeout_s`: of the
    flow as it is deployed now, and so many seconds where it does not say; None: as it was then. Raises UserError where
    there is no such run, flow or step.
    """
    details = show(store, run_id)
    data, timeout = store.command("HMGET", keys.job(run_id), "data", "timeout")
    spec = decode_job(data or b"")
    if spec.part:
        part = _TURN.sub("", spec.part)
        whole = f"headrace runs restart {spec.parent} --step {part}"
        raise UserError(f"{run_id} is a part of the run of a flow, {spec.parent}", hint=whole, run=run_id)
    if not spec.is_flow:
        raise UserError(f"{run_id} is no run of a flow", hint="headrace runs again runs a script again", run=run_id)
    if details.run.state in LIVE:
        raise UserError(f"{run_id} has not ended", hint=f"headrace runs cancel {run_id} ends it", run=run_id)
    version, timeout_s = spec.runnable_version, round(float(timeout or 0))
    if latest_timeout_s is not None:
        newest = latest(store, spec.runnable, latest_timeout_s, is_flow=True)
        version, timeout_s = newest.version, newest.timeout_s
    flow = _flow(store, Runnable(spec.runnable, version, 0))
    taken = Taken(lambda part: _records(store, part), lambda runnable: _flow(store, runnable))
    kept = taken.before(_records(store, run_id), flow, step)
    key = f"{ORIGIN}-{secrets.token_hex(16)}"
    new = msgspec.structs.replace(
        spec, runnable_version=version, idempotency_key=key, origin=ORIGIN, parent=run_id, root=None,
        cause=spec.cause_by(details.message),
    )  # fmt: skip
    description = f"{spec.runnable} from {step} of {run_id}"[:DESCRIPTION_LENGTH]
    new_id = f"{run_id[:2]}-{key}"
    made = MadeRun(new_id, encode_job(new), description, timeout_s, ORIGIN, run_id, None, spec.trigger, None, who)
    now_ns = time.time_ns()
    store.run(restart(made, iso_utc(now_ns), now_ns // 1000, kept))
    return new_id


def _records(store: Store, run_id: str) -> dict[str, bytes]:
    return {name.decode(): value for name, value in store.command("HGETALL", keys.flow(run_id)).items()}


def _flow(store: Store, runnable: Runnable) -> Flow:
    flow = read_definition(store.command(*definition_command(runnable.version)), Flow)
    if flow is None:
        raise UserError(f"version {runnable.version} of the flow {runnable.path} is gone")
    return flow
