"""`headrace push`: deploy a workspace folder."""

from __future__ import annotations

import getpass
import socket
import sys
from pathlib import Path
from typing import Any

import click

from shared.cli_common import as_json, connected, screen_width, settings, wait_for_redis
from shared.config_keys import public_url
from shared.deploy import Options, Pushed
from shared.deploy import push as deploy
from shared.secrets import SecretBox
from shared.tables import Column, table
from shared.workspace import Workspace, read_workspace
from shared.workspace.plan import Item, Plan

_SIGNS = {"created": "+", "changed": "~", "renamed": ">", "deleted": "-"}
_SHOWN = 8  # names in a line of what was left alone


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="DIR")
@click.option("--dry-run", is_flag=True, help="Check and show what would change; deploy nothing.")
@click.option("--prune", is_flag=True, help="Delete what is deployed and not in the folder.")
@click.option("-y", "--yes", is_flag=True, help="Delete without asking.")
@click.option("-m", "--message", default="", metavar="TEXT", help="Why, for the list of deployments.")
@click.option("--wait", type=click.FloatRange(min=0), default=15.0, show_default=True, metavar="SECONDS",
              help="How long to wait for Redis to come up.")  # fmt: skip
@click.option("--json", "json_output", is_flag=True, help="Print what was done as one JSON object.")
def push(folder: Path, *, dry_run: bool, prune: bool, yes: bool, message: str, wait: float, json_output: bool) -> int:
    """Deploy the workspace folder DIR, all of it or nothing.

    The whole folder is checked first: scripts (*.py, *.sh, *.ts), MQTT triggers (*.mqtt_trigger.yaml), resources,
    variables and flows, as `wmill sync` writes them. Secret variables are encrypted before they are sent. Running
    processes pick a deployment up at once. Pushing the same folder again changes nothing.
    """
    workspace = read_workspace(folder)
    for note in workspace.notes:
        click.echo(f"note: {note}", err=True)
    for warning in workspace.warnings:
        click.echo(f"warning: {warning}", err=True)
    given = settings()
    box = SecretBox.rehearsal(given) if dry_run else SecretBox.load(given, create=True)
    options = Options(given.worker.default_timeout_s, prune, dry_run, box, author=_author(), message=message)
    refused = False

    def approve(plan: Plan) -> bool:
        nonlocal refused
        deletions = [change for change in plan.changes if change.action == "deleted"]
        if prune and deletions and not yes and sys.stdin.isatty():
            click.echo(_changes(plan), err=True)
            refused = not click.confirm(f"Delete {len(deletions)} of what is deployed?", err=True)
        return not refused

    with connected(given.redis_url) as store:
        wait_for_redis(store, given.redis_url, wait, lambda text: click.echo(text, err=True))
        pushed = deploy(store, workspace, options, approve)
    for warning in pushed.plan.warnings[len(workspace.warnings) :]:
        click.echo(f"warning: {warning}", err=True)
    if box.made is not None:
        click.echo(f"note: {box.made} is made: every machine that needs the secrets needs this key", err=True)
    if json_output:
        click.echo(as_json(_report(pushed, workspace, dry_run=dry_run)))
    else:
        click.echo(_text(pushed, workspace, public_url(given.redis_url), dry_run=dry_run))
    return 1 if refused else 0


def _author() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        user = "somebody"
    return f"push by {user}@{socket.gethostname()}"


def _report(pushed: Pushed, workspace: Workspace, *, dry_run: bool) -> dict[str, Any]:
    plan = pushed.plan
    return {
        "deployment": pushed.number,
        "applied": pushed.applied,
        "dry_run": dry_run,
        "changes": plan.changes,
        "unchanged": plan.unchanged,
        "kept": plan.kept,
        "skipped": workspace.skipped,
        "warnings": plan.warnings,
        "notes": workspace.notes,
    }


def _text(pushed: Pushed, workspace: Workspace, url: str, *, dry_run: bool) -> str:
    plan = pushed.plan
    lines = [_changes(plan)] if plan.changes else []
    if plan.kept:
        lines.append(f"not in this folder, kept (--prune deletes): {_names(plan.kept)}")
    if workspace.skipped:
        lines.append(f"skipped: {_few(workspace.skipped)}")
    lines.append(_outcome(pushed, url, dry_run=dry_run))
    return "\n".join(lines)


def _changes(plan: Plan) -> str:
    rows = []
    for change in plan.changes:
        detail = f"was {change.was}" if change.was else ", ".join(change.details)
        rows.append((_SIGNS[change.action], change.action, change.kind, change.path, detail))
    columns = (Column(""), Column(""), Column(""), Column(""), Column("", shrink=True))
    return table(columns, rows, screen_width())


def _outcome(pushed: Pushed, url: str, *, dry_run: bool) -> str:
    plan = pushed.plan
    counts = [f"{sum(c.action == action for c in plan.changes)} {action}" for action in _SIGNS]
    counts.append(f"{len(plan.unchanged)} unchanged")
    summary = ", ".join(count for count in counts if not count.startswith("0 "))
    if pushed.applied:
        return f"deployment {pushed.number} at {url}: {summary}"
    if not plan.changes:
        return f"nothing to do: deployment {pushed.number} at {url} is up to date ({summary})"
    return f"would deploy to {url}: {summary}" if dry_run else "nothing was deployed"


def _names(items: list[Item]) -> str:
    return _few([f"{item.kind} {item.path}" for item in items])


def _few(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
