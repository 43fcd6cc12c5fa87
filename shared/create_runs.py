"""Runs that no message made: what one is, before it is queued."""

from __future__ import annotations

import secrets
from typing import Literal

import msgspec

from shared.definitions import Runnable
from shared.runs import RunSpec, decode_job, encode_job
from shared.scripts.operate import MadeRun

Origin = Literal["api", "child", "preview"]
DESCRIPTION_LENGTH = 120
HANDLER_ORIGIN = "handler"
ALERT_ORIGIN = "alert"


class Family(msgspec.Struct, frozen=True):
    """Where a run stands: the one that started it, the first of that line ('' both: none did), the trigger version
    behind that, and its trace.
    """

    parent: str
    root: str
    cause: str = ""
    trace: tuple[str, ...] = ()


_ALONE = Family("", "")


def make_run(
    runnable: str,
    version: str,
    timeout_s: int,
    args: bytes,
    origin: Origin,
    family: Family | None = None,
    *,
    is_flow: bool = False,
) -> MadeRun:
    """A run of this version of a script or flow, for `create_runs`; `args` is a JSON object, the arguments of `main`.

    Its id says QoS 2: a crash never starts it again on its own.
    """
    key = f"api-{secrets.token_hex(16)}"
    run_id = f"q2-{key}"
    stands = family or _ALONE
    parent, root = stands.parent or None, stands.root or None
    spec = RunSpec(
        "", runnable, version, key, {}, b"", args=args, origin=origin, parent=parent, root=root, is_flow=is_flow,
        cause=stands.cause, trace=stands.trace,
    )  # fmt: skip
    description = f"{runnable} for {parent or origin}"[:DESCRIPTION_LENGTH]
    return MadeRun(run_id, encode_job(spec), description, timeout_s, origin, parent, root)


def known_as(run: MadeRun, key: str) -> MadeRun:
    """The run under a key that somebody has chosen: with the same key there is one such run."""
    spec = msgspec.structs.replace(decode_job(run.data), idempotency_key=key)
    return msgspec.structs.replace(run, id=f"{run.id[:2]}-{key}", data=encode_job(spec))


def make_handler_run(failed: str, runnable: Runnable, args: bytes, cause: str, trace: tuple[str, ...] = ()) -> MadeRun:
    """The run of an error handler for the run `failed`, for `create_handler`; `args` is a JSON object, `cause` the
    version of the trigger, `trace` what it is below.

    Its id follows from that run's, so that it is created once; it says QoS 2: a crash never starts it again on its own.
    """
    key = f"{failed.partition('-')[2]}-eh"
    spec = RunSpec(
        "", runnable.path, runnable.version, key, {}, b"", args=args, origin=HANDLER_ORIGIN, parent=failed, root=failed,
        is_flow=runnable.is_flow, cause=cause, trace=trace,
    )  # fmt: skip
    description = f"{runnable.path} for {failed}"[:DESCRIPTION_LENGTH]
    return MadeRun(f"q2-{key}", encode_job(spec), description, runnable.timeout_s, HANDLER_ORIGIN, failed, failed)


def make_alert_run(notice: str, runnable: str, version: str, timeout_s: int, args: bytes) -> MadeRun:
    """The run that tells of something, for `create_runs`; `args` is a JSON object.

    Its id follows from the notice's, so that it is created once; it says QoS 2: a crash never starts it again on its
    own. That it fails alerts nobody (`_lib.lua` knows it by its id).
    """
    key = f"{ALERT_ORIGIN}-{notice}"
    spec = RunSpec("", runnable, version, key, {}, b"", args=args, origin=ALERT_ORIGIN)
    description = f"{runnable} for {ALERT_ORIGIN} {notice}"[:DESCRIPTION_LENGTH]
    return MadeRun(f"q2-{key}", encode_job(spec), description, timeout_s, ALERT_ORIGIN)
