"""Deployments of values that runs write: those in a row are one entry of the list, and push no other out. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from shared.deployments import Deployment

NAMES_MAX: Final = 100
"""An entry that names more than so many is not added to."""


def merged(older: Deployment, newer: Deployment) -> Deployment | None:
    """Both as one that can be undone as one; None where they stay two: one of them is not by a run, or it gets long."""
    before = older.before | {name: version for name, version in newer.before.items() if not _touches(older, name)}
    changed = {name: version for name, version in older.changed.items() if name not in newer.deleted} | newer.changed
    deleted = {name for name in (*older.deleted, *newer.deleted) if name in before and name not in changed}
    is_one = older.by_run and newer.by_run and newer.number == older.number + 1
    if not is_one or len(changed) + len(deleted) > NAMES_MAX:
        return None
    return msgspec.structs.replace(newer, since=older.first, changed=changed, deleted=sorted(deleted), before=before)


def _touches(deployment: Deployment, name: str) -> bool:
    return name in deployment.changed or name in deployment.deleted
