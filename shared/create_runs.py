"""Runs that no message made: what one is, before it is queued."""

from __future__ import annotations

import secrets
from typing import Literal

import msgspec

from shared.definitions import Runnable
from shared.runs import RunSpec, encode_job
from shared.scripts.operate import MadeRun

Origin = Literal["api", "child", "preview"]
DESCRIPTION_LENGTH = 120
HANDLER_ORIGIN = "handler"


class Family(msgspec.Struct, frozen=True):
    """Where a run stands: the one that started it, the first of that line, and the trigger version behind that."""

    parent: str
    root: str
    cause: str = ""


def make_run(
    runnable: str,
    version: str,
    timeout_s: int,
    args: bytes,
    origin: Origin,
    family: Family | None = None,
    key: str = "",
) -> MadeRun:
    """A run of this script version, for `create_runs`; `args` is a JSON object, the arguments of `main`.

    Its id says QoS 2: a crash never starts it again on its own. `key`: what it is to be known by, '' for a new one.
    """
    key = key or f"api-{secrets.token_hex(16)}"
    run_id = f"q2-{key}"
    parent, root, cause = (family.parent, family.root, family.cause) if family else (None, None, "")
    spec = RunSpec("", runnable, version, key, {}, b"", args=args, origin=origin, parent=parent, root=root, cause=cause)
    description = f"{runnable} for {parent or origin}"[:DESCRIPTION_LENGTH]
    return MadeRun(run_id, encode_job(spec), description, timeout_s, origin, parent, root)


def make_handler_run(failed: str, runnable: Runnable, args: bytes, cause: str) -> MadeRun:
    """The run of an error handler for the run `failed`, for `create_handler`; `args` is a JSON object, `cause` the
    version of the trigger.

    Its id follows from that run's, so that it is created once; it says QoS 2: a crash never starts it again on its own.
    """
    key = f"{failed.partition('-')[2]}-eh"
    spec = RunSpec(
        "", runnable.path, runnable.version, key, {}, b"", args=args, origin=HANDLER_ORIGIN, parent=failed, root=failed,
        cause=cause,
    )  # fmt: skip
    description = f"{runnable.path} for {failed}"[:DESCRIPTION_LENGTH]
    return MadeRun(f"q2-{key}", encode_job(spec), description, runnable.timeout_s, HANDLER_ORIGIN, failed, failed)
