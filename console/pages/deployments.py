"""The deployments: who changed what and when, how files differ, and going back to one."""

from __future__ import annotations

from typing import Final

import msgspec
from litestar import Router
from litestar.response import Redirect, Template

from console.auditing import Note
from console.blocking import Blocking
from console.masking import hides, mask_line
from console.pages.forms import Asked, action, page, text
from console.view import View
from shared import keys
from shared.config import Settings
from shared.dependencies.locking import Dependencies
from shared.deploy import Options, Pushed
from shared.deployment_document import masked
from shared.deployments import (
    Deployment,
    FileDiff,
    changes_of,
    diffs_of,
    diffs_to,
    read_kept,
    read_newest,
    with_details,
)
from shared.errors import HeadraceError
from shared.left_page import left_lines
from shared.plan_page import SIGNS, counted
from shared.rollback import rollback
from shared.run_record import iso_ms
from shared.secrets import SecretBox
from shared.store import Store
from shared.workspace.changes import Change
from shared.workspace.layout import RESOURCE

LISTED: Final = 100


class Line(msgspec.Struct, frozen=True):
    """A deployment in the list."""

    deployment: Deployment
    at: str
    counts: str
    changes: list[Change]


class DeploymentView(msgspec.Struct, frozen=True):
    """A deployment, what it changed, and how files differ."""

    deployment: Deployment
    at: str
    changes: list[Change]
    diffs: list[FileDiff]
    current: int
    dead: int


def read_list(store: Store) -> tuple[list[Line], int, int]:
    """The newest deployments, the number of the current one, how many dead letters there are."""
    deployments = read_newest(store, LISTED)
    lines = [
        Line(deployment, iso_ms(deployment.at), counted(changes, None), changes)
        for deployment, changes in zip(deployments, changes_of(store, deployments), strict=True)
    ]
    return lines, int(store.command("HGET", keys.DEPLOYMENT, "number") or 0), store.command("ZCARD", keys.DEAD)


def read_deployment(store: Store, number: int, *, hide: bool) -> DeploymentView:
    """One of the list. Raises UserError where there is none. `hide`: lines that look like secrets are masked."""
    kept = read_kept(store)
    deployment, _ = kept.at(number)
    (changes,) = changes_of(store, [deployment])
    diffs = [_shown(diff, hide=hide) for diff in diffs_of(store, deployment)]
    return DeploymentView(
        deployment, iso_ms(deployment.at), with_details(store, deployment, changes),
        [diff for diff in diffs if diff.lines], kept.deployed.number, store.command("ZCARD", keys.DEAD),
    )  # fmt: skip


def read_diffs(store: Store, number: int, *, hide: bool) -> list[FileDiff]:
    """How files would change by going back to this one."""
    diffs = [_shown(diff, hide=hide) for diff in diffs_to(store, read_kept(store), number)]
    return [diff for diff in diffs if diff.lines]


def _shown(diff: FileDiff, *, hide: bool) -> FileDiff:
    lines = [masked(line) for line in diff.lines]
    if hide and diff.path.endswith(RESOURCE):
        lines = [mask_line(line) for line in lines]
    return msgspec.structs.replace(diff, lines=lines)


@page("/workspace/deployments")
async def deployments(view: View, work: Blocking) -> Template:
    """The list."""
    lines, current, dead = await work(read_list)
    return view.page(
        "deployments.html", section="workspace", lines=lines, current=current, signs=SIGNS, dead_count=dead
    )


@page("/workspace/deployments/{number:int}")
async def deployment(number: int, view: View, work: Blocking) -> Template:
    """One of them."""
    found = await work(read_deployment, number, hide=hides(view.caller))
    return view.page("deployment.html", section="workspace", found=found, signs=SIGNS, dead_count=found.dead)


@page("/workspace/deployments/{number:int}/back", "deploy")
async def going_back(number: int, view: View, work: Blocking, settings: Settings) -> Template:
    """What going back would change; nothing is done yet."""
    planned = await work(_go_back, number, settings, view.who, "", dry_run=True)
    diffs = await work(read_diffs, number, hide=hides(view.caller))
    return view.page(
        "going_back.html", section="workspace", number=number, plan=planned.plan, notes=left_lines(planned.plan),
        counts=counted(planned.plan.changes, len(planned.plan.unchanged)), signs=SIGNS, diffs=diffs,
    )  # fmt: skip


@action("/workspace/deployments/{number:int}/back", "deploy")
async def go_back(number: int, request: Asked, view: View, work: Blocking, settings: Settings, note: Note) -> Redirect:
    """Deploy what an older deployment had deployed."""
    message = text(await request.form(), "message") or f"back to {number}"
    try:
        done = await work(_go_back, number, settings, view.who, message, dry_run=False)
    except HeadraceError as error:
        return view.redirect(f"/workspace/deployments/{number}", error.message, "bad", error.hint)
    note.tell("go back to a deployment", str(number), {"deployment": done.number - 1}, {"deployment": done.number})
    if not done.applied:
        return view.redirect("/workspace/deployments", f"What is deployed equals deployment {number} already.", "warn")
    todo = " ".join(left_lines(done.plan))
    said = f"Deployment {done.number} equals {number}, and is in force within a second."
    return view.redirect(f"/workspace/deployments/{done.number}", said, "good", todo)


def _go_back(store: Store, number: int, settings: Settings, who: str, message: str, *, dry_run: bool) -> Pushed:
    options = Options(
        settings.worker.default_timeout_s, dry_run=dry_run, box=SecretBox.load(settings, create=False),
        author=f"console by {who}",
        message=message, deployments_max=settings.retention.deployments_max,
        dependencies=Dependencies.of(settings, keeps=True),
    )  # fmt: skip
    return rollback(store, number, options, lambda _plan: True)


routes = Router("/", route_handlers=[deployments, deployment, going_back, go_back])
