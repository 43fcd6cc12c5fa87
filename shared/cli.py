"""The command `headrace`: one group, whose commands are imported when they are called.

Exit status: 0 done, 1 the thing asked for failed, 2 wrong usage or settings, 130 interrupted. Data goes to stdout,
everything else to stderr. A command may return its exit status.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple

import click

from shared.errors import HeadraceError

_INTERRUPTED = 130
_NAME_WIDTH = 10


class Entry(NamedTuple):
    """A command before it is imported."""

    section: str
    target: str
    """`module:attribute` of the click command."""
    summary: str
    """For the list of commands; at most 63 characters, so that a line fits 80 columns."""


_PROCESSES, _WORKSPACE, _RUNS, _OPERATE = "Processes", "Workspace", "Runs and messages", "Operate"

COMMANDS = {
    "ingest": Entry(_PROCESSES, "ingest.cli:ingest", "Hold the MQTT sessions; store each message before its ack."),
    "dispatch": Entry(_PROCESSES, "dispatch.cli:dispatch", "Turn stored messages into runs."),
    "worker": Entry(_PROCESSES, "worker.cli:worker", "Run the code, record what came of it."),
    "console": Entry(_PROCESSES, "console.cli:console", "Serve the web console and the HTTP API."),
    "redis": Entry(_PROCESSES, "shared.cli_services:redis", "Serve an embedded Redis (Valkey) from the data folder."),
    "broker": Entry(_PROCESSES, "shared.cli_services:broker", "Serve an MQTT broker on this machine."),
    "init": Entry(_WORKSPACE, "shared.cli_init:init", "Write a workspace folder to start from."),
    "test": Entry(_WORKSPACE, "worker.cli_test:run_tests", "Run the tests beside scripts and flows, here."),
    "push": Entry(_WORKSPACE, "shared.cli_workspace:push", "Deploy a folder of scripts and triggers, at once."),
    "pull": Entry(_WORKSPACE, "shared.cli_pull:pull", "Write the deployed files into a folder."),
    "history": Entry(_WORKSPACE, "shared.cli_history:history", "List deployments; show what one changed."),
    "rollback": Entry(_WORKSPACE, "shared.cli_history:rollback", "Deploy again what an older deployment had."),
    "publish": Entry(_RUNS, "ingest.cli:publish", "Publish a message and wait until the broker has it."),
    "capture": Entry(_RUNS, "ingest.cli_trigger:capture", "Show live messages as the code of a trigger gets them."),
    "demo": Entry(_RUNS, "ingest.cli:demo", "Publish readings for the example until interrupted."),
    "run": Entry(_RUNS, "worker.cli_run:run_script", "Run a script or flow here, on a captured event or arguments."),
    "flow": Entry(_RUNS, "worker.cli_run:flow", "Run a flow here, step by step."),
    "runs": Entry(_RUNS, "shared.cli_runs:runs", "Find runs; show one, follow its log, cancel it, run it again."),
    "dead": Entry(_RUNS, "shared.cli_dead:dead", "Find dead letters; show one, run it again, drop it."),
    "trigger": Entry(_OPERATE, "shared.cli_trigger:trigger", "List triggers; suspend, resume, disable, test one."),
    "sessions": Entry(_OPERATE, "shared.cli_sessions:sessions", "List MQTT sessions; drain or end one left behind."),
    "token": Entry(_OPERATE, "shared.cli_token:token", "Make, list and revoke tokens for console and API."),
    "login": Entry(_OPERATE, "shared.cli_token:login", "Print an address that logs a browser in, once."),
    "audit": Entry(_OPERATE, "shared.cli_audit:audit", "List who changed what through the console."),
    "alerts": Entry(_OPERATE, "shared.cli_alerts:alerts", "List what is wrong, and whom it was told; try it out."),
    "status": Entry(_OPERATE, "shared.cli_status:status", "Show sessions, queues, workers and every counter."),
    "doctor": Entry(_OPERATE, "shared.cli_status:doctor", "Check the set-up, and say how to mend what is wrong."),
}

_HELP = """\
Headrace runs your code for every MQTT message, as often as its QoS promises:
0 at most once, 1 at least once, 2 exactly once. Even through kill -9."""

_EPILOG = """\
Examples:
  honcho start                                  all processes of the Procfile
  headrace push examples/hello                  deploy a workspace folder
  headrace publish demo/hello '{"t": 21.5}'     trigger what listens to it
  headrace runs --state failed --limit 5        see what went wrong
  headrace worker --help                        all about one command

Settings: headrace.toml and HEADRACE_* variables; REDIS_URL names the Redis.
"""


class LazyGroup(click.Group):
    """Lists its commands from the table and imports one only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command."""
        del ctx
        if (entry := COMMANDS.get(cmd_name)) is None:
            return None
        module, _, attribute = entry.target.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click, but an unknown name is answered with the nearest one."""
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            raise click.exceptions.NoSuchCommand(name, possibilities=COMMANDS, ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What it is, what it can do by section, examples."""
        self.format_usage(ctx, formatter)
        formatter.write(f"\n{_HELP}\n")
        for section in dict.fromkeys(entry.section for entry in COMMANDS.values()):
            with formatter.section(section):
                members = {name: entry for name, entry in COMMANDS.items() if entry.section == section}
                formatter.write_dl([(f"{name:<{_NAME_WIDTH}}", entry.summary) for name, entry in members.items()])
        click.Command.format_options(self, ctx, formatter)
        formatter.write(f"\n{_EPILOG}")


def _show_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:  # noqa: FBT001 - click's form
    if not wanted:
        return
    from importlib.metadata import PackageNotFoundError, version

    try:
        click.echo(f"headrace {version('headrace')}")
    except PackageNotFoundError:
        click.echo("headrace, run from its source without being installed")
    ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version,
              help="Show the version.")  # fmt: skip
def headrace() -> None:
    """Run code for MQTT messages."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit status. Errors of ours go to stderr as message and hint."""
    args = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    try:
        status = headrace.main(args, prog_name="headrace", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except (click.ClickException, HeadraceError) as error:
        return _report(error)
    except (click.Abort, KeyboardInterrupt):
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone; at exit Python would flush what is left and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status if isinstance(status, int) else 0


def _report(error: click.ClickException | HeadraceError) -> int:
    """Say on stderr what went wrong and what to do; gives the exit status."""
    if isinstance(error, HeadraceError):
        click.echo(f"error: {error}", err=True)
        return error.exit_status
    click.echo(f"error: {error.format_message()}", err=True)
    if isinstance(error, click.UsageError) and error.ctx is not None:
        click.echo(f"  hint: '{error.ctx.command_path} --help' shows how it is used", err=True)
    return error.exit_code
