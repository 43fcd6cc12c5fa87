"""Runs that no message made: what one is, before it is queued."""

from __future__ import annotations

import secrets
from typing import Literal

import msgspec

from shared.runs import RunSpec, encode_job
from shared.scripts.operate import MadeRun

Origin = Literal["api", "child"]
DESCRIPTION_LENGTH = 120


class Family(msgspec.Struct, frozen=True):
    """Where a run stands: the one that started it, and the first of that line."""

    parent: str
    root: str


def make_run(
    runnable: str, version: str, timeout_s: int, args: bytes, origin: Origin, family: Family | None = None
) -> MadeRun:
    """A run of this script version, for `create_runs`; `args` is a JSON object, the arguments of `main`.

    Its id says QoS 2: a crash never starts it again on its own.
    """
    key = f"api-{secrets.token_hex(16)}"
    run_id = f"q2-{key}"
    parent, root = (family.parent, family.root) if family else (None, None)
    spec = RunSpec("", runnable, version, key, {}, b"", args=args, origin=origin, parent=parent, root=root)
    description = f"{runnable} for {parent or origin}"[:DESCRIPTION_LENGTH]
    return MadeRun(run_id, encode_job(spec), description, timeout_s, origin, parent, root)
