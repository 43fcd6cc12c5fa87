"""`headrace run` and `flow run`: a script or flow on a captured event or on arguments, here and now, for trying."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from shared.cli_common import as_json, connected, screen_width, settings
from shared.errors import UserError
from shared.tables import duration, printable_lines

if TYPE_CHECKING:
    from shared.config import Settings
    from shared.definitions import Flow, Script
    from worker.catalog import Catalog
    from worker.here import Here
    from worker.trial import Given, Outcome

_FILE = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


class _Wanted(msgspec.Struct, frozen=True):
    """The options of a run."""

    path: str
    event: Path | None
    arguments: str | None
    folder: Path | None
    timeout: float | None
    no_wait: bool
    json_output: bool


def _options(command: Callable[..., int]) -> Callable[..., int]:
    """What running a script and running a flow have in common."""
    for decorator in reversed((
        click.argument("path"),
        click.option("--event", type=_FILE, metavar="FILE", help="A message, as headrace capture --save wrote it."),
        click.option(
            "--args", "arguments", metavar="FILE|JSON", help="The arguments: a JSON object, or a file with one."
        ),
        click.option("--dir", "folder", type=_FOLDER, metavar="DIR",
                     help="Take it from this folder instead of what is deployed; needs no Redis."),
        click.option("--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
                     help="End a script after so long; else as the script or the settings say."),
        click.option("--no-wait", is_flag=True, help="Of a flow: do not wait for sleeps and before retries."),
        click.option("--json", "json_output", is_flag=True, help="Print one JSON object."),
    )):  # fmt: skip
        command = decorator(command)
    return command


@click.command("run")
@_options
def run_script(path: str, **options: Any) -> int:
    """Run the script or flow at PATH on this machine, as a worker would, and leave no record of it.

    The result goes to stdout, log and error to stderr, and of a flow what each step came to; exit status 1 if it
    fails. There is no console token: what the wmill client asks for is refused.
    """
    return _run(_Wanted(path, **options), is_flow=None)


@click.group()
def flow() -> None:
    """Try flows."""


@flow.command("run")
@_options
def run_flow_here(path: str, **options: Any) -> int:
    """Run the flow at PATH on this machine, as a worker would, and leave no record of it.

    What each step came to goes to stderr, the result to stdout; exit status 1 if it fails. Parallel parts run one
    after the other. There is no console token: what the wmill client asks for is refused.
    """
    return _run(_Wanted(path, **options), is_flow=True)


def _run(wanted: _Wanted, *, is_flow: bool | None) -> int:
    from shared.definitions import Flow
    from worker.here import Here

    own = settings()
    catalog = _catalog(own, wanted)
    found = catalog.runnable(wanted.path, is_flow=is_flow)
    if found is None:
        raise UserError(f"{wanted.path} is a script and no flow", hint=f"headrace run {wanted.path} runs it")
    if wanted.event is None and wanted.arguments is None:
        raise click.UsageError("give --event, --args or both; --args '{}' where there are no arguments")
    given = _given(wanted.path, wanted.event, wanted.arguments)
    trigger = catalog.triggers.get(given.event.trigger_path) if given.event else None
    if trigger is not None:
        given = msgspec.structs.replace(given, form=trigger.payload)
    with tempfile.TemporaryDirectory(prefix="headrace-run-") as files, Here(own, Path(files)) as here:
        if catalog.stands_in:
            given = msgspec.structs.replace(given, environment=here.mocked(catalog.values))
        if isinstance(found, Flow):
            return _run_flow(own, catalog, here, found, given, wanted)
        return _run_script(own, here, found, given, wanted)


def _run_script(own: Settings, here: Here, script: Script, given: Given, wanted: _Wanted) -> int:
    from worker.trial import execute

    outcome = execute(script, given, here, wanted.timeout or script.timeout_s or own.worker.default_timeout_s)
    if wanted.json_output:
        click.echo(as_json(outcome))
    else:
        _show(outcome)
    return 0 if outcome.ok else 1


def _run_flow(own: Settings, catalog: Catalog, here: Here, found: Flow, given: Given, wanted: _Wanted) -> int:
    from worker.flow_page import end_lines, step_lines
    from worker.flow_report import StepRun
    from worker.flow_trial import Manner, run_flow
    from worker.flows.evaluation import expression_limits

    def tell(step: StepRun) -> None:
        if not wanted.json_output:
            click.echo("\n".join(step_lines(found, step, screen_width())), err=True)

    manner = Manner(waits=not wanted.no_wait, tell=tell, limits=expression_limits(own.worker))
    outcome = run_flow(catalog, here, found, given, manner)
    if wanted.json_output:
        click.echo(as_json(outcome))
    else:
        click.echo("\n".join(end_lines(outcome)), err=True)
        if outcome.ok or outcome.result is not None:
            click.echo(as_json(outcome.result))
    return 0 if outcome.ok else 1


def _given(path: str, event: Path | None, arguments: str | None) -> Given:
    from worker.trial import Given, read_event

    given = read_event(_read(event), path, str(event)) if event else Given()
    return given if arguments is None else msgspec.structs.replace(given, args=_arguments(arguments))


def _arguments(text: str) -> bytes:
    """A JSON object, given as such or in a file."""
    blob = text.encode() if text.lstrip()[:1] in tuple('{["') else _read(Path(text))
    try:
        return msgspec.json.encode(msgspec.json.decode(blob, type=dict[str, object]))
    except msgspec.DecodeError as error:
        raise UserError(f"the arguments are not a JSON object: {error}") from error


def _read(file: Path) -> bytes:
    if str(file) == "-":
        return sys.stdin.buffer.read()
    try:
        return file.read_bytes()
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from error


def _catalog(own: Settings, wanted: _Wanted) -> Catalog:
    """From the folder, with what scripts import resolved as a push does it; or as it is deployed."""
    from shared.deploy import read_now
    from shared.secrets import SecretBox
    from worker.catalog import as_deployed, of_folder, unknown

    if wanted.folder is not None:
        found = of_folder(wanted.folder, own, lambda text: click.echo(text, err=True), {wanted.path})
        if found.runnable(wanted.path) is None:
            raise unknown(wanted.path, f"is in {wanted.folder}", found.names)
        return found
    with connected(own.redis_url) as store:
        now = read_now(store)
        found = as_deployed(store, now, wanted.path, SecretBox.load(own, create=False))
        if found.runnable(wanted.path) is None:
            raise unknown(wanted.path, "is deployed", [*now.of_kind("script"), *now.of_kind("flow")])
        return found


def _show(outcome: Outcome) -> None:
    from worker.flow_page import publication

    if outcome.log:
        click.echo(printable_lines(outcome.log), err=True)
    if outcome.arguments is not None:
        click.echo(f"arguments {as_json(outcome.arguments)}", err=True)
    if outcome.error is not None:
        stack = f"\n{outcome.error.stack}" if outcome.error.stack else ""
        click.echo(printable_lines(f"{outcome.error.name}: {outcome.error.message}{stack}"), err=True)
    for message in outcome.messages:
        click.echo(printable_lines(publication(message)), err=True)
    said = "succeeded" if outcome.ok else "failed"
    click.echo(f"{outcome.runnable} {said} in {duration(outcome.duration_ms)}", err=True)
    if outcome.ok or outcome.result is not None:
        click.echo(as_json(outcome.result))
