"""`headrace pull`: write what is deployed into a workspace folder."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from shared.cli_common import as_json, connected, screen_width, settings
from shared.config_keys import public_url
from shared.errors import UserError
from shared.plan_page import SIGNS, few
from shared.pull import Pulled, PullPlan, carry_out, plan_pull, read_deployment
from shared.secrets import SecretBox
from shared.tables import Column, table


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), metavar="[DIR]", default=".")
@click.option("--dry-run", is_flag=True, help="Show what would change; write nothing.")
@click.option("--prune", is_flag=True, help="Delete files of the workspace that are not deployed.")
@click.option("--secrets", is_flag=True, help="Write secrets too, as plain text that only you can read.")
@click.option("-y", "--yes", is_flag=True, help="Overwrite and delete without asking.")
@click.option("--json", "json_output", is_flag=True, help="Print what was done as one JSON object.")
def pull(folder: Path, *, dry_run: bool, prune: bool, secrets: bool, yes: bool, json_output: bool) -> int:
    """Write the deployed files into the folder DIR (default: this one), as they were pushed.

    Pushed again they change nothing. Files that `push` does not read (schedules, apps, hidden ones, …) are not touched.
    A file that differs is overwritten only after asking, or with --yes; where nobody can be asked, nothing is written
    (exit status 1). Secret variables come without their values, which a push then leaves as they are.
    """
    given = settings()
    box = SecretBox.load(given, create=False) if secrets else None
    with connected(given.redis_url) as store:
        pulled = read_deployment(store, box)
    if not pulled.texts:
        raise UserError(f"nothing is deployed to {public_url(given.redis_url)}", hint="headrace push DIR does it")
    plan = plan_pull(pulled, folder, prune=prune)
    allowed = dry_run or yes or not plan.overwritten or _confirmed(plan, folder)
    applied = bool(plan.changes) and allowed and not dry_run
    if applied:
        carry_out(plan, pulled, folder)
    if json_output:
        click.echo(as_json(_report(plan, pulled, applied=applied, dry_run=dry_run)))
    elif not allowed:
        click.echo("nothing was written")
    else:
        click.echo(_text(plan, f"deployment {pulled.number} at {public_url(given.redis_url)}", dry_run=dry_run))
    if applied and (plain := [each.path for each in plan.changes if each.path in pulled.plain]):
        click.echo(f"note: written with secrets as plain text, for you alone to read: {few(plain)}", err=True)
    return 0 if allowed else 1


def _confirmed(plan: PullPlan, folder: Path) -> bool:
    click.echo(_changes(plan), err=True)
    verbs = {"changed": "overwrite", "deleted": "delete"}
    counts = {verb: sum(each.action == action for each in plan.changes) for action, verb in verbs.items()}
    what = " and ".join(f"{verb} {count}" for verb, count in counts.items() if count)
    if not sys.stdin.isatty():
        click.echo(f"error: this would {what} of the files in {folder}", err=True)
        click.echo("  hint: nobody can be asked here; --yes does it, --dry-run shows it", err=True)
        return False
    return click.confirm(f"{what.capitalize()} of the files in {folder}?", err=True)


def _report(plan: PullPlan, pulled: Pulled, *, applied: bool, dry_run: bool) -> dict[str, Any]:
    return {
        "deployment": pulled.number,
        "applied": applied,
        "dry_run": dry_run,
        "changes": plan.changes,
        "unchanged": plan.unchanged,
        "kept": plan.kept,
        "left_out": plan.left_out,
        "secrets": sorted(pulled.plain),
    }


def _text(plan: PullPlan, source: str, *, dry_run: bool) -> str:
    lines = [_changes(plan)] if plan.changes else []
    if plan.kept:
        lines.append(f"not deployed, kept (--prune deletes): {few(plan.kept)}")
    if plan.left_out:
        lines.append(f"left out by wmill.yaml: {few(plan.left_out)}")
    counts = {action: sum(each.action == action for each in plan.changes) for action in SIGNS}
    counted = [f"{count} {action}" for action, count in counts.items() if count]
    summary = ", ".join([*counted, f"{len(plan.unchanged)} unchanged"])
    if not plan.changes:
        lines.append(f"nothing to do: the folder is as {source} ({summary})")
    else:
        lines.append(f"would write {source}: {summary}" if dry_run else f"{source}: {summary}")
    return "\n".join(lines)


def _changes(plan: PullPlan) -> str:
    rows = [(SIGNS[change.action], change.action, change.path) for change in plan.changes]
    return table((Column(""), Column(""), Column("", shrink=True)), rows, screen_width())
