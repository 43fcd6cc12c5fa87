"""A run again, as a new one: of the same message or arguments, or with arguments that a person has edited."""

from __future__ import annotations

import math
import secrets
import time
from typing import Any, Final

import msgspec

from shared import keys
from shared.clock import iso_utc
from shared.create_runs import DESCRIPTION_LENGTH
from shared.definitions import FLOW_TIMEOUT_S, Flow, Script, Trigger
from shared.deployment import definition_command, read_definition
from shared.errors import UserError
from shared.event import payload_argument
from shared.history import RunDetails, show
from shared.runs import RunSpec, decode_job, encode_job
from shared.scripts.operate import MadeRun, create_runs
from shared.store import Store
from shared.tracing.runs import carried, message_context

ORIGIN: Final = "replay"


class Version(msgspec.Struct, frozen=True):
    """A version of a runnable, and the seconds that a run of it may take."""

    version: str
    timeout_s: int


class Edits(msgspec.Struct, frozen=True):
    """Arguments instead of the run's own: all of them, or single ones over its own."""

    whole: dict[str, Any] | None = None
    single: dict[str, Any] = {}

    def __bool__(self) -> bool:
        return self.whole is not None or bool(self.single)


def run_again(store: Store, run_id: str, edits: Edits, latest_timeout_s: float | None, who: str = "") -> str:
    """Queue a new run that points at this one, under a new id and idempotency key; its id.

    It stands outside the identities. `who` asks for it. `latest_timeout_s`: run the version that is deployed now, and
    so many seconds where its script does not say; None: the version of then. Raises UserError where there is nothing
    to run.
    """
    details = show(store, run_id)
    data, timeout = store.command("HMGET", keys.job(run_id), "data", "timeout")
    spec = decode_job(data or b"")
    if spec.part:
        hint = f"headrace runs again {spec.parent} runs all of it"
        raise UserError(f"{run_id} is a part of the run of a flow, {spec.parent}", hint=hint, run=run_id)
    version = Version(spec.runnable_version, math.ceil(float(timeout or 0)))
    if not spec.trace and details.message is not None:
        spec = msgspec.structs.replace(spec, trace=carried(message_context(details.message)))
    if latest_timeout_s is not None:
        version = latest(store, spec.runnable, latest_timeout_s, is_flow=spec.is_flow)
    args = edited(store, details, edits, is_flow=spec.is_flow) if edits else spec.args
    spec = msgspec.structs.replace(spec, cause=spec.cause_by(details.message))
    made = msgspec.structs.replace(_make(run_id, spec, version, args, details.run.topic), created_by=who)
    now_ns = time.time_ns()
    store.run(create_runs([made], iso_utc(now_ns), now_ns // 1000))
    return made.id


def latest(store: Store, path: str, default_timeout_s: float, *, is_flow: bool) -> Version:
    """What is deployed now at this path. UserError if nothing is."""
    name = f"{'flow' if is_flow else 'script'}:{path}"
    version = store.command("HGET", keys.DEPLOYED, name)
    if version is None:
        raise UserError(f"{path} is not deployed now", hint="without --latest the version of then is run", path=path)
    blob = store.command(*definition_command(version.decode()))
    found = read_definition(blob, Flow) if is_flow else read_definition(blob, Script)
    return Version(
        version.decode(), math.ceil((found and found.timeout_s) or (FLOW_TIMEOUT_S if is_flow else default_timeout_s))
    )


def edited(store: Store, details: RunDetails, edits: Edits, *, is_flow: bool = False) -> bytes:
    """The arguments of `main`, or of a flow, as JSON. UserError for single ones where the others are not known."""
    if edits.whole is not None:
        return msgspec.json.encode(edits.whole | edits.single)
    own = details.args if details.args is not None else _of_message(store, details, is_flow=is_flow)
    if own is None:
        raise UserError(f"the arguments of {details.run.id} are not known", hint="give all of them with --args FILE")
    return msgspec.json.encode(own | edits.single)


def _of_message(store: Store, details: RunDetails, *, is_flow: bool) -> dict[str, Any] | None:
    """What `main` was called with for a message: by the preprocessor, as far as that has come, or the payload."""
    message = details.message
    if message is None:
        return None
    made = [attempt.arguments for attempt in details.attempts if isinstance(attempt.arguments, dict)]
    if made:
        return dict(made[-1])
    replies = store.commands(
        [definition_command(details.run.runnable_version or ""), definition_command(message.trigger_version)]
    )
    trigger = read_definition(replies[1], Trigger)
    found = read_definition(replies[0], Flow) if is_flow else read_definition(replies[0], Script)
    if found is None or found.has_preprocessor:
        return None
    return payload_argument(message.payload, trigger.payload if trigger else "windmill")


def _make(run_id: str, spec: RunSpec, version: Version, args: bytes | None, topic: str | None) -> MadeRun:
    key = f"{ORIGIN}-{secrets.token_hex(16)}"
    new = msgspec.structs.replace(
        spec,
        runnable_version=version.version,
        idempotency_key=key,
        envelope=spec.envelope if args is None else b"",
        args=args,
        origin=ORIGIN,
        parent=run_id,
        root=None,
    )
    what = f"on {topic}" if args is None else f"for {run_id}"
    return MadeRun(
        f"{run_id[:2]}-{key}", encode_job(new), f"{spec.runnable} {what}"[:DESCRIPTION_LENGTH], version.timeout_s,
        ORIGIN, run_id, None, spec.trigger,
    )  # fmt: skip
