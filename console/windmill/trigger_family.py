"""What Windmill has beside its triggers: runs that wait for a suspended one, their history, how many there are."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from litestar import Response, Router, get, post

from console.answers import as_json
from console.auditing import Note
from console.blocking import Blocking
from console.callers import Caller
from console.errors import bad_request, not_found
from console.needs import needs
from console.paging import Paging
from console.workspace import Workspace
from shared import suspended
from shared.config import Settings
from shared.definitions import Trigger
from shared.deployment import read_all
from shared.deployments import Deployment, read_kept
from shared.modes import read_triggers
from shared.run_record import iso_ms
from shared.store import Store

KIND: Final = "mqtt"
JOBS_MAX: Final = 10_000
_TRIGGERS_MAX: Final = 100_000
"""A deployment changes fewer: a row keeps its number."""
_OTHER_KINDS = (
    "http_routes", "websocket", "kafka", "nats", "postgres", "amqp", "gcp", "azure", "sqs", "email", "nextcloud",
    "google", "github",
)  # fmt: skip
_OTHER_COUNTS = (*_OTHER_KINDS, "schedule", "webhook", "default_email")


class Jobs(msgspec.Struct, frozen=True):
    """Body of both: these runs, or all that wait."""

    job_ids: Annotated[list[str], msgspec.Meta(max_length=JOBS_MAX)] | None = None


@post("/trigger/{kind:str}/resume_suspended_trigger_jobs/{path:path}", status_code=200, opt=needs("operate"))
async def resume_jobs(
    kind: str, path: str, data: Jobs, work: Blocking, content: Workspace, settings: Settings, note: Note
) -> Response[bytes]:
    """Queue runs that wait, with the version of what they run that is deployed now; says how many."""
    trigger = await _trigger(kind, path, content)
    default_s = settings.worker.default_timeout_s
    settled = await work(suspended.resume, trigger, data.job_ids, default_s)
    note.tell("resume runs of trigger", trigger, after={"resumed": settled.done, "refused": len(settled.refused)})
    return as_json(f"Reassigned {settled.done} jobs")


@post("/trigger/{kind:str}/cancel_suspended_trigger_jobs/{path:path}", status_code=200, opt=needs("operate"))
async def cancel_jobs(
    kind: str, path: str, data: Jobs, work: Blocking, content: Workspace, caller: Caller, note: Note
) -> Response[bytes]:
    """Cancel runs that wait; says how many."""
    trigger = await _trigger(kind, path, content)
    settled = await work(suspended.discard, trigger, data.job_ids, caller.name, "")
    note.tell("discard runs of trigger", trigger, after={"discarded": settled.done})
    return as_json(f"Canceled {settled.done} jobs" if settled.done else "No jobs to cancel")


@get("/triggers_history/list", opt=needs("read"))
async def list_history(
    work: Blocking,
    paging: Paging,
    trigger_kind: str = KIND,
    path: str | None = None,
) -> list[dict[str, Any]]:
    """What happened to triggers, newest first, as far as the list of deployments goes back."""
    if trigger_kind != KIND:
        return []
    return paging.of(await work(_history, path))


@get(["/scripts/get_triggers_count/{path:path}", "/flows/get_triggers_count/{path:path}"], opt=needs("read"))
async def triggers_count(path: str, work: Blocking) -> dict[str, int]:
    """How many triggers name a script or flow, by kind."""
    runnable = path.strip("/")
    triggers = await work(read_triggers, [])
    count = sum(runnable in each.runnables for each in triggers.values())
    return {f"{KIND}_count": count} | {f"{kind}_count": 0 for kind in _OTHER_COUNTS}


@get("/workspaces/used_triggers", opt=needs("read"))
async def used_triggers(content: Workspace) -> dict[str, bool]:
    """Which kinds of triggers there are."""
    used = bool((await content.current()).deployed.of_kind("trigger"))
    return {f"{KIND}_used": used} | {f"{kind}_used": False for kind in _OTHER_KINDS}


async def _trigger(kind: str, path: str, content: Workspace) -> str:
    """The path. Raises Refusal (400, 404)."""
    if kind != KIND:
        raise bad_request(f"triggers of kind {kind} have no suspended jobs here: only {KIND} triggers are run")
    found = path.strip("/")
    if found not in (await content.current()).deployed.of_kind("trigger"):
        raise not_found(f"Trigger not found at path: {found}")
    return found


def _history(store: Store, path: str | None) -> list[dict[str, Any]]:
    """From the list of deployments: what each did to triggers, that is not only another version of what they run."""
    deployments = read_kept(store).deployments
    prefix = "trigger:"
    versions = {
        version: version
        for each in deployments
        for table in (each.before, each.changed)
        for name, version in table.items()
        if name.startswith(prefix)
    }
    triggers = read_all(store, versions, Trigger)
    rows: list[dict[str, Any]] = []
    for deployment in deployments:
        names = [name for name in sorted({*deployment.changed, *deployment.deleted}) if name.startswith(prefix)]
        for place, name in enumerate(names):
            found = name.removeprefix(prefix)
            if path in {None, found} and (operation := _operation(deployment, name, triggers)):
                rows.append(_row(deployment, found, operation, place))
    return rows


def _operation(deployment: Deployment, name: str, triggers: dict[str, Trigger]) -> str:
    """In Windmill's words; '' where nothing but the version of what it runs is another."""
    if name not in deployment.changed:
        return "delete"
    if name not in deployment.before:
        return "create"
    old, new = triggers.get(deployment.before[name]), triggers.get(deployment.changed[name])
    if old is None or new is None:
        return "update"
    if old.mode == new.mode:
        is_same = msgspec.structs.replace(old, runnables={}) == msgspec.structs.replace(new, runnables={})
        return "" if is_same else "update"
    return {"enabled": "enable", "disabled": "disable", "suspended": "suspend"}[new.mode]


def _row(deployment: Deployment, path: str, operation: str, place: int) -> dict[str, Any]:
    return {
        "id": deployment.number * _TRIGGERS_MAX + place,
        "trigger_kind": KIND,
        "path": path,
        "operation": operation,
        "source": "api",
        "username": deployment.author or None,
        "changes": None,
        "created_at": iso_ms(deployment.at),
    }


routes = Router("/", route_handlers=[resume_jobs, cancel_jobs, list_history, triggers_count, used_triggers])
