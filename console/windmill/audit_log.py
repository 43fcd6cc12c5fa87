"""The audit log in Windmill's words. What Windmill has no word for is left out: its client fails on other words."""

from __future__ import annotations

from typing import Any, Final

from litestar import Router, get

from console.blocking import Blocking
from console.needs import needs
from console.paging import Paging
from console.workspace import Workspace
from shared.audit import AuditRow, read_audit

LOOKED_AT_MAX: Final = 10_000
_THINGS: Final = {
    "script": "scripts", "flow": "flows", "resource": "resources", "resource type": "resource_types",
    "variable": "variables", "folder": "folder",
}  # fmt: skip
_VERBS: Final = {"create": ("create", "Created"), "change": ("update", "Updated"), "delete": ("delete", "Delete")}
_OTHERS: Final = {
    "log in": ("users.login", "Execute"),
    "log in by link": ("users.login", "Execute"),
    "log out": ("users.logout", "Execute"),
    "create token": ("users.token.create", "Created"),
    "revoke token": ("users.token.delete", "Delete"),
    "cancel run": ("jobs.cancel", "Execute"),
    "run again": ("jobs.run", "Execute"),
}
_PATHS: Final = {
    "/jobs/run/preview": "jobs.run.preview", "/jobs/run": "jobs.run.script", "/queue/cancel": "jobs.cancel",
    "/queue/force_cancel": "jobs.force_cancel",
}  # fmt: skip


@get("/audit/list", opt=needs("admin"))
async def list_audit(
    work: Blocking,
    content: Workspace,
    paging: Paging,
    username: str | None = None,
    operation: str | None = None,
    resource: str | None = None,
) -> list[dict[str, Any]]:
    """The newest entries, newest first."""
    rows = [
        found
        for each in await work(read_audit, LOOKED_AT_MAX)
        if (found := audit_object(each, content.name)) is not None
        and username in {None, found["username"]}
        and operation in {None, found["operation"]}
        and resource in {None, found["resource"]}
    ]
    return paging.of(rows)


def audit_object(row: AuditRow, workspace: str) -> dict[str, Any] | None:
    """An entry; None for what Windmill has no word for. Pure."""
    operation, kind = operation_of(row.what)
    if not operation:
        return None
    ms, _, number = row.id.partition("-")
    return {
        "workspace_id": workspace,
        "id": int(ms) * 1000 + int(number or 0) % 1000,
        "timestamp": row.at,
        "username": row.who,
        "operation": operation,
        "action_kind": kind,
        "resource": row.on,
        "parameters": {"what": row.what, "before": row.before, "after": row.after},
    }


def operation_of(what: str) -> tuple[str, str]:
    """Windmill's words for what was done, '' where it has none. Pure."""
    if what in _OTHERS:
        return _OTHERS[what]
    verb, _, thing = what.partition(" ")
    if verb in _VERBS and thing in _THINGS:
        named, kind = _VERBS[verb]
        return f"{_THINGS[thing]}.{named}", kind
    return next(((named, "Execute") for part, named in _PATHS.items() if part in what), ("", ""))


routes = Router("/", route_handlers=[list_audit])
