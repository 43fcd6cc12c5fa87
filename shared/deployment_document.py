"""Deployments as programs are told of them; sealed secrets are masked. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from shared.deployments import Deployment, FileDiff
from shared.left_page import left_report
from shared.run_record import iso_ms
from shared.workspace.changes import Change
from shared.workspace.plan import Plan

MASK = "***"
_SEALED = re.compile(r"hr1:[A-Za-z0-9+/=]+")


def masked(text: str) -> str:
    """A text without the sealed values of secret variables."""
    return _SEALED.sub(MASK, text)


def deployment_document(deployment: Deployment, changes: Iterable[Change]) -> dict[str, Any]:
    """One of the list; `since` is the oldest that it holds, where runs have written values several times."""
    changes = list(changes)
    return {
        "number": deployment.number,
        "since": deployment.first,
        "at": iso_ms(deployment.at),
        "author": deployment.author,
        "message": deployment.message,
        "counts": dict(Counter(change.action for change in changes)),
        "changes": changes,
    }


def diff_documents(diffs: Iterable[FileDiff]) -> list[dict[str, Any]]:
    """How its files changed."""
    return [{"path": diff.path, "diff": [masked(line) for line in diff.lines]} for diff in diffs]


def plan_document(plan: Plan, number: int, *, applied: bool, dry_run: bool) -> dict[str, Any]:
    """What a push or a way back has done, or would do. `deployment` is the one that is current now."""
    return {
        "deployment": number,
        "applied": applied,
        "dry_run": dry_run,
        "changes": plan.changes,
        "unchanged": plan.unchanged,
        "kept": plan.kept,
        "warnings": plan.warnings,
        **left_report(plan),
    }
