"""The verbs of the operator: deploy, re-drive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from shared import keys
from shared.scripts.call import Arg, Call

_RETRIED: dict[int, Literal["queued", "not ended badly", "unknown"]] = {
    1: "queued",
    0: "not ended badly",
    -1: "unknown",
}


def retry(run_id: str, now_iso: str) -> Call[Literal["queued", "not ended badly", "unknown"]]:
    """Re-drive a run that ended badly; twice queues once."""
    return Call("retry", [keys.RQ_QUEUE, keys.RQ_FAILED, keys.DEAD], [run_id, now_iso], _RETRIED.__getitem__)


def deploy(
    against: int,
    record_json: bytes,
    definitions: Mapping[str, bytes],
    changed: Mapping[str, str],
    deleted: Sequence[str],
) -> Call[int]:
    """Make a deployment current; its number, or -1 when another deployment came between."""
    args: list[Arg] = [against, record_json, len(definitions), len(changed)]
    for version, blob in definitions.items():
        args += (version, blob)
    for name, version in changed.items():
        args += (name, version)
    args += deleted
    return Call("deploy", [keys.DEPLOYMENT, keys.DEPLOYED, keys.DEFINITIONS, keys.DEPLOYMENTS], args, int)
