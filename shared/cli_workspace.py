"""`headrace push`: deploy a workspace folder."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import msgspec

from shared.cli_common import as_json, author, connected, settings, wait_for_redis
from shared.config_keys import public_url
from shared.dependencies.locking import Dependencies
from shared.deploy import Options, Pushed
from shared.deploy import push as deploy
from shared.deployment_document import plan_document
from shared.errors import HeadraceError, WorkspaceError
from shared.left_page import left_lines
from shared.plan_page import changes_table, counted, few
from shared.secrets import SecretBox
from shared.workspace import Workspace, read_workspace
from shared.workspace.plan import Item, Plan


class _Wanted(msgspec.Struct, frozen=True):
    """The options of a push."""

    dry_run: bool
    prune: bool
    yes: bool
    upgrade: bool
    message: str
    wait: float
    json_output: bool


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="DIR")
@click.option("--dry-run", is_flag=True, help="Check and show what would change; deploy nothing.")
@click.option("--prune", is_flag=True, help="Delete what is deployed and not in the folder.")
@click.option("-y", "--yes", is_flag=True, help="Delete without asking.")
@click.option("--upgrade", is_flag=True, help="Take the newest packages that scripts allow.")
@click.option("-m", "--message", default="", metavar="TEXT", help="Why, for the list of deployments.")
@click.option("--wait", type=click.FloatRange(min=0), default=15.0, show_default=True, metavar="SECONDS",
              help="How long to wait for Redis to come up.")  # fmt: skip
@click.option("--watch", is_flag=True, help="Go on, and push at each change of the folder, until interrupted.")
@click.option("--json", "json_output", is_flag=True, help="Print what was done as one JSON object.")
def push(folder: Path, *, watch: bool, **options: Any) -> int:
    """Deploy the workspace folder DIR, all of it or nothing.

    The whole folder is checked first: scripts (*.py, *.sh, *.ts), MQTT triggers (*.mqtt_trigger.yaml), resources,
    variables and flows, as `wmill sync` writes them. Secret variables are encrypted before they are sent. Running
    processes pick a deployment up at once. Pushing the same folder again changes nothing.
    """
    wanted = _Wanted(**options)
    return _keep_pushing(folder, wanted) if watch else _push(folder, wanted)


def _keep_pushing(folder: Path, wanted: _Wanted) -> int:
    """Until Ctrl-C. What is wrong is shown; the next change may mend it."""
    from shared.watching import changes

    with suppress(KeyboardInterrupt):
        for _ in changes(folder):
            try:
                _push(folder, wanted)
            except HeadraceError as error:
                click.echo(f"error: {error}", err=True)
            sys.stdout.flush()
    return 0


def _push(folder: Path, wanted: _Wanted) -> int:
    try:
        return _deploy(folder, wanted)
    except WorkspaceError as error:
        if wanted.json_output:
            problems = error.fields.get("problems", [])
            click.echo(as_json({"applied": False, "error": error.message.partition("\n")[0], "problems": problems}))
        raise


def _deploy(folder: Path, wanted: _Wanted) -> int:
    workspace = read_workspace(folder)
    for note in workspace.notes:
        click.echo(f"note: {note}", err=True)
    for warning in workspace.warnings:
        click.echo(f"warning: {warning}", err=True)
    given = settings()
    box = SecretBox.rehearsal(given) if wanted.dry_run else SecretBox.load(given, create=True)
    dependencies = Dependencies.of(given, upgrade=wanted.upgrade, say=lambda text: click.echo(text, err=True))
    options = Options(
        given.worker.default_timeout_s, wanted.prune, wanted.dry_run, box, author("push"), wanted.message,
        given.retention.deployments_max, dependencies,
    )  # fmt: skip
    refused = False

    def approve(plan: Plan) -> bool:
        nonlocal refused
        deletions = [change for change in plan.changes if change.action == "deleted"]
        if wanted.prune and deletions and not wanted.yes and sys.stdin.isatty():
            click.echo(changes_table(plan.changes), err=True)
            refused = not click.confirm(f"Delete {len(deletions)} of what is deployed?", err=True)
        return not refused

    with connected(given.redis_url) as store:
        wait_for_redis(store, given.redis_url, wanted.wait, lambda text: click.echo(text, err=True))
        pushed = deploy(store, workspace, options, approve)
    for warning in pushed.plan.warnings[len(workspace.warnings) :]:
        click.echo(f"warning: {warning}", err=True)
    if box.made is not None:
        click.echo(f"note: {box.made} is made: every machine that needs the secrets needs this key", err=True)
    if wanted.json_output:
        click.echo(as_json(_report(pushed, workspace, dry_run=wanted.dry_run)))
    else:
        click.echo(_text(pushed, workspace, public_url(given.redis_url), dry_run=wanted.dry_run))
    return 1 if refused else 0


def _report(pushed: Pushed, workspace: Workspace, *, dry_run: bool) -> dict[str, Any]:
    report = plan_document(pushed.plan, pushed.number, applied=pushed.applied, dry_run=dry_run)
    return report | {"skipped": workspace.skipped, "notes": workspace.notes}


def _text(pushed: Pushed, workspace: Workspace, url: str, *, dry_run: bool) -> str:
    plan = pushed.plan
    lines = [changes_table(plan.changes)] if plan.changes else []
    if plan.kept:
        lines.append(f"not in this folder, kept (--prune deletes): {_names(plan.kept)}")
    if workspace.skipped:
        lines.append(f"skipped: {few(workspace.skipped)}")
    lines += [*left_lines(plan), _outcome(pushed, url, dry_run=dry_run)]
    return "\n".join(lines)


def _outcome(pushed: Pushed, url: str, *, dry_run: bool) -> str:
    plan = pushed.plan
    summary = counted(plan.changes, len(plan.unchanged))
    if pushed.applied:
        return f"deployment {pushed.number} at {url}: {summary}"
    if not plan.changes:
        return f"nothing to do: deployment {pushed.number} at {url} is up to date ({summary})"
    return f"would deploy to {url}: {summary}" if dry_run else "nothing was deployed"


def _names(items: list[Item]) -> str:
    return few([f"{item.kind} {item.path}" for item in items])
