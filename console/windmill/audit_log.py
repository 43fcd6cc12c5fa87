"""The audit log in Windmill's words. What Windmill has no word for is left out: its client fails on other words."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
from litestar import Router, get
from litestar.di import Provide

from console.blocking import Blocking
from console.needs import needs
from console.paging import Paging
from console.workspace import Workspace
from shared.audit import AuditRow, read_audit
from shared.run_record import iso_ms

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
_KINDS: Final = {"create": "created", "update": "updated"}
"""As Windmill's filter has it → as its entries have it."""
_PATHS: Final = {
    "/jobs/run/preview": "jobs.run.preview", "/jobs/run": "jobs.run.script", "/queue/cancel": "jobs.cancel",
    "/queue/force_cancel": "jobs.force_cancel",
}  # fmt: skip


class Wanted(msgspec.Struct, frozen=True):
    """Which entries: None asks for nothing. Times are as entries have them."""

    username: str | None = None
    operation: str | None = None
    resource: str | None = None
    action_kind: str | None = None
    since: str = ""
    until: str | None = None

    def fits(self, entry: dict[str, Any]) -> bool:
        """Whether one is."""
        return (
            self.username in {None, entry["username"]}
            and self.operation in {None, entry["operation"]}
            and self.resource in {None, entry["resource"]}
            and self.action_kind in {None, entry["action_kind"].lower()}
            and self.since <= entry["timestamp"]
            and (self.until is None or entry["timestamp"] <= self.until)
        )


def provide_wanted(
    username: str | None = None,
    operation: str | None = None,
    resource: str | None = None,
    action_kind: Literal["Create", "Delete", "Execute", "Update", "create", "delete", "execute", "update"]
    | None = None,
    before: datetime | None = None,
    after: datetime | None = None,
) -> Wanted:
    """For the handler that names `wanted`."""
    since, until = (None if at is None else iso_ms(math.floor(at.timestamp() * 1000)) for at in (after, before))
    kind = action_kind and _KINDS.get(action_kind.lower(), action_kind.lower())
    return Wanted(username, operation, resource, kind, since or "", until)


@get(
    "/audit/list", opt=needs("admin"), dependencies={"wanted": Provide(provide_wanted, sync_to_thread=False)}
)  # fmt: skip
async def list_audit(work: Blocking, content: Workspace, paging: Paging, wanted: Wanted) -> list[dict[str, Any]]:
    """The newest entries, newest first."""
    found = [audit_object(each, content.name) for each in await work(read_audit, LOOKED_AT_MAX)]
    return paging.of([each for each in found if each is not None and wanted.fits(each)])


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
