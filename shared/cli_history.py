"""`headrace history` and `headrace rollback`: what was deployed when and by whom, and how to get back there."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from shared.cli_common import as_json, author, connected, screen_width, settings
from shared.dependencies.locking import Dependencies
from shared.deploy import Options, Pushed
from shared.deployment_document import deployment_document, diff_documents, masked, plan_document
from shared.deployments import Deployment, FileDiff, changes_of, diffs_of, read_kept, read_newest, with_details
from shared.left_page import left_lines
from shared.plan_page import changes_table, counted
from shared.rollback import rollback as roll_back
from shared.run_page import local_time
from shared.run_record import iso_ms
from shared.secrets import SecretBox
from shared.tables import Column, printable, table
from shared.workspace.changes import Change
from shared.workspace.plan import Plan

_COLUMNS = (
    Column("DEPLOYMENT", align="right"), Column("WHEN"), Column("BY", shrink=True), Column("CHANGES", shrink=True),
    Column("MESSAGE", shrink=True),
)  # fmt: skip


@click.group(invoke_without_command=True)
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="List at most so many.")
@click.option("-v", "--verbose", is_flag=True, help="Name what was changed.")
@click.option("--json", "json_output", is_flag=True, help="One JSON object a line.")
@click.pass_context
def history(context: click.Context, /, *, limit: int, verbose: bool, json_output: bool) -> None:
    """List deployments, newest first; `history show NUMBER` shows one with the changes of its files."""
    if context.invoked_subcommand is not None:
        return
    with connected(settings().redis_url) as store:
        deployments = read_newest(store, limit)
        changes = changes_of(store, deployments)
    pairs = list(zip(deployments, changes, strict=True))
    if json_output:
        for deployment, changed in pairs:
            click.echo(as_json(deployment_document(deployment, changed)))
    elif not pairs:
        click.echo("nothing was ever deployed")
    elif verbose:
        click.echo("\n\n".join(f"{_headline(deployment)}\n{_listed(changed)}" for deployment, changed in pairs))
    else:
        click.echo(table(_COLUMNS, [_row(*pair) for pair in pairs], screen_width()))


@history.command("show")
@click.argument("number", type=click.IntRange(min=1), metavar="NUMBER")
@click.option("--json", "json_output", is_flag=True, help="One JSON object.")
def show_deployment(number: int, *, json_output: bool) -> None:
    """Show what a deployment changed, and how its files differ from those before. Secrets are not shown."""
    with connected(settings().redis_url) as store:
        deployment, _ = read_kept(store).at(number)
        (changes,) = changes_of(store, [deployment])
        changes, diffs = with_details(store, deployment, changes), diffs_of(store, deployment)
    if json_output:
        click.echo(as_json(deployment_document(deployment, changes) | {"files": diff_documents(diffs)}))
    else:
        click.echo("\n\n".join([f"{_headline(deployment)}\n{_listed(changes)}", *filter(None, map(_diff, diffs))]))


@click.command()
@click.argument("number", type=click.IntRange(min=1), metavar="NUMBER")
@click.option("--dry-run", is_flag=True, help="Show what would change; deploy nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("-m", "--message", default="", metavar="TEXT", help="Why, for the list of deployments.")
@click.option("--json", "json_output", is_flag=True, help="Print what was done as one JSON object.")
def rollback(number: int, *, dry_run: bool, yes: bool, message: str, json_output: bool) -> int:
    """Deploy what deployment NUMBER had deployed, all of it and nothing else.

    It becomes a deployment of its own, with the next number. Triggers keep their sessions. Messages that were received
    before run what was deployed when they were received. Without --yes it asks, and where nobody can be asked it
    refuses (exit status 1).
    """
    given = settings()
    options = Options(
        given.worker.default_timeout_s, dry_run=dry_run, box=SecretBox.load(given, create=False),
        author=author("rollback"), message=message or f"back to {number}",
        deployments_max=given.retention.deployments_max, dependencies=Dependencies.of(given),
    )  # fmt: skip
    refused = False

    def approve(plan: Plan) -> bool:
        nonlocal refused
        if not yes:
            click.echo(changes_table(plan.changes), err=True)
            refused = not (sys.stdin.isatty() and click.confirm(f"Go back to deployment {number}?", err=True))
        return not refused

    with connected(given.redis_url) as store:
        done = roll_back(store, number, options, approve)
    if refused and not sys.stdin.isatty():
        click.echo("error: nobody can be asked here\n  hint: --yes does it, --dry-run shows it", err=True)
    if json_output:
        report = plan_document(done.plan, done.number, applied=done.applied, dry_run=dry_run)
        click.echo(as_json(report | {"back_to": number}))
    else:
        click.echo("nothing was deployed" if refused else _text(done, number, dry_run=dry_run))
    return 1 if refused else 0


def _text(done: Pushed, number: int, *, dry_run: bool) -> str:
    plan = done.plan
    summary = counted(plan.changes, len(plan.unchanged))
    if not plan.changes:
        return f"nothing to do: what is deployed equals deployment {number} ({summary})"
    outcome = (
        f"would go back to {number}: {summary}" if dry_run else f"deployment {done.number} equals {number}: {summary}"
    )
    return "\n".join([changes_table(plan.changes), *left_lines(plan), outcome])


def _row(deployment: Deployment, changes: Sequence[Change]) -> tuple[str, ...]:
    number, when = deployment.numbers, local_time(iso_ms(deployment.at))
    return (number, when, deployment.author, counted(changes, None), deployment.message)


def _headline(deployment: Deployment) -> str:
    message = f"\n  {printable(deployment.message)}" if deployment.message else ""
    author_ = printable(deployment.author) or "somebody"
    return f"deployment {deployment.numbers}  {iso_ms(deployment.at)}  {author_}{message}"


def _listed(changes: Sequence[Change]) -> str:
    return changes_table(changes) if changes else "nothing but details of files"


def _diff(diff: FileDiff) -> str:
    return "\n".join(printable(masked(line)) for line in diff.lines)
