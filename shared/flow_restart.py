"""A run of a flow once more, from one of its steps on: what came before it is taken over as it was."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from shared import keys
from shared.again import ORIGIN, latest
from shared.clock import iso_utc
from shared.create_runs import DESCRIPTION_LENGTH
from shared.definitions import Flow
from shared.deployment import definition_command, read_definition
from shared.errors import UserError
from shared.flow_records import BEGUN, INPUT, read_ended
from shared.history import show
from shared.openflow import PREPROCESSOR, BranchAll, BranchOne, FlowModule, ForLoop, WhileLoop, lists_within
from shared.runs import LIVE, decode_job, encode_job
from shared.scripts.flows import restart
from shared.scripts.operate import MadeRun
from shared.store import Store

_STEERING: Final = ("?items", "?branch", "?parallelism", "?skip")
"""What led into a step that consists of steps."""


def restart_run(store: Store, run_id: str, step: str, latest_timeout_s: float | None, who: str = "") -> str:
    """Queue a new run that begins with what this one had recorded before `step`; its id.

    It stands outside the identities. `who` asks for it. `latest_timeout_s`: of the flow as it is deployed now, and so
    many seconds where it does not say; None: as it was then. Raises UserError where there is no such run, flow or step.
    """
    details = show(store, run_id)
    data, timeout = store.command("HMGET", keys.job(run_id), "data", "timeout")
    spec = decode_job(data or b"")
    if not spec.is_flow or spec.part:
        raise UserError(f"{run_id} is no run of a flow", hint="headrace runs again runs a script again", run=run_id)
    if details.run.state in LIVE:
        raise UserError(f"{run_id} has not ended", hint=f"headrace runs cancel {run_id} ends it", run=run_id)
    version, timeout_s = spec.runnable_version, round(float(timeout or 0))
    if latest_timeout_s is not None:
        newest = latest(store, spec.runnable, latest_timeout_s, is_flow=True)
        version, timeout_s = newest.version, newest.timeout_s
    flow = read_definition(store.command(*definition_command(version)), Flow)
    if flow is None:
        raise UserError(f"version {version} of the flow {spec.runnable} is gone", run=run_id)
    fields = {name.decode(): value for name, value in store.command("HGETALL", keys.flow(run_id)).items()}
    kept = before(fields, flow.value.modules, step)
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


def before(fields: Mapping[str, bytes], modules: Sequence[FlowModule], step: str) -> dict[str, bytes]:
    """The records of what came before a step: `b`, or `l/3/x` for one in an iteration or branch, whose first is `l/3`.
    Pure.

    Raises UserError where the flow has no such step, or where it is one of a parallel part, or of a flow within it.
    """
    kept = {name: value for name, value in fields.items() if _is_of(name, PREPROCESSOR) or name in {INPUT, "?skip"}}
    prefix, words = "", step.split("/")
    while True:
        ids = [module.id for module in modules]
        if words[0] not in ids:
            raise UserError(f"there is no step {prefix}{words[0]}", hint=f"steps there: {', '.join(ids)}", step=step)
        at = ids.index(words[0])
        kept |= _of(fields, [prefix + each for each in ids[:at]])
        if len(words) == 1:
            return kept
        module, key = modules[at], prefix + words[0]
        modules, number = _within(module, key, words[1:], step)
        if isinstance(module.value, BranchOne) and _taken(fields, module.value, key) != number:
            raise UserError(f"{key}/{number} was not taken", hint=f"restart from {key}: it chooses anew", step=step)
        kept |= {f"{key}{mark}": fields[f"{key}{mark}"] for mark in _STEERING if f"{key}{mark}" in fields}
        if not isinstance(module.value, BranchOne):
            kept |= _of(fields, [f"{key}/{each}" for each in range(number)])
        prefix, words = f"{key}/{number}/", words[2:] or [modules[0].id]


def _within(module: FlowModule, key: str, words: Sequence[str], step: str) -> tuple[Sequence[FlowModule], int]:
    """The list of steps that the next word names, and the number of the branch or iteration."""
    value = module.value
    if isinstance(value, ForLoop | BranchAll) and value.parallel:
        raise UserError(f"{key} is carried out in parallel", hint=f"restart from {key}", step=step)
    lists = lists_within(value)
    number = int(words[0]) if words[0].isdecimal() else -1
    is_loop = isinstance(value, ForLoop | WhileLoop)
    if not lists or number < 0 or (not is_loop and number >= len(lists)) or not lists[0 if is_loop else number]:
        raise UserError(f"there is no step {step}", hint=f"restart from {key}, or from {key}/NUMBER/STEP", step=step)
    return lists[0 if is_loop else number], number


def _taken(fields: Mapping[str, bytes], value: BranchOne, key: str) -> int:
    """The number of the branch that was taken; the default one has the number after the last."""
    blob = fields.get(f"{key}?branch")
    chosen = read_ended(blob).result if blob else None
    return chosen if isinstance(chosen, int) else len(value.branches)


def _of(fields: Mapping[str, bytes], keys_before: Sequence[str]) -> dict[str, bytes]:
    return {name: value for name, value in fields.items() if any(_is_of(name, key) for key in keys_before)}


def _is_of(name: str, key: str) -> bool:
    """Whether a record is of what stands at this key, or within it."""
    return name.startswith(key) and (len(name) == len(key) or name[len(key)] in f"/~?!#{BEGUN}")
