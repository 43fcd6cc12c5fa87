"""`headrace run`: a script on a captured event or on arguments, here and now, for trying and for tests."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from shared.cli_common import as_json, connected, settings
from shared.errors import UserError
from shared.tables import duration, printable_lines

if TYPE_CHECKING:
    from shared.config import Settings
    from shared.definitions import Script, Trigger
    from worker.trial import Given, Outcome

_SHOWN = 200
_FILE = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)


@click.command("run")
@click.argument("path")
@click.option("--event", type=_FILE, metavar="FILE", help="A message, as headrace capture --save has written it.")
@click.option(
    "--args", "arguments", metavar="FILE|JSON", help="The arguments of main: a JSON object, or a file with one."
)
@click.option("--dir", "folder", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="DIR",
              help="Take the script from this folder instead of what is deployed; needs no Redis.")  # fmt: skip
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
              help="End it after so long; else as the script or the settings say.")  # fmt: skip
@click.option("--json", "json_output", is_flag=True, help="Print one JSON object.")
def run_script(
    path: str,
    *,
    event: Path | None,
    arguments: str | None,
    folder: Path | None,
    timeout: float | None,
    json_output: bool,
) -> int:
    """Run the script at PATH on this machine, as a worker would, and leave no record of it.

    The result goes to stdout, log and error to stderr; exit status 1 if it fails. There is no console token: what the
    wmill client asks for is refused.
    """
    from worker.trial import execute

    if event is None and arguments is None:
        raise click.UsageError("give --event, --args or both")
    given = _given(path, event, arguments)
    of = given.event.trigger_path if given.event else ""
    own = settings()
    script, trigger = _local(own, folder, path, of) if folder else _deployed(own, path, of)
    if trigger is not None:
        given = msgspec.structs.replace(given, form=trigger.payload)
    timeout_s = timeout or script.timeout_s or own.worker.default_timeout_s
    with tempfile.TemporaryDirectory(prefix="headrace-run-") as files:
        outcome = execute(script, given, own, Path(files), timeout_s)
    if json_output:
        click.echo(as_json(outcome))
    else:
        _show(outcome)
    return 0 if outcome.ok else 1


def _given(path: str, event: Path | None, arguments: str | None) -> Given:
    from worker.trial import Given, read_event

    given = read_event(_read(event), path, str(event)) if event else Given()
    return given if arguments is None else msgspec.structs.replace(given, args=_arguments(arguments))


def _arguments(text: str) -> bytes:
    """A JSON object, given as such or in a file."""
    blob = text.encode() if text.lstrip().startswith("{") else _read(Path(text))
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


def _deployed(given: Settings, path: str, trigger_path: str) -> tuple[Script, Trigger | None]:
    """The script as it is deployed, and the trigger of the event if that is."""
    from shared.definitions import Script, Trigger
    from shared.deploy import read_all, read_now

    with connected(given.redis_url) as store:
        now = read_now(store)
        versions = now.of_kind("script")
        if path not in versions:
            raise _unknown(path, "is deployed", versions)
        script = read_all(store, {path: versions[path]}, Script)[path]
        triggers = {each: version for each, version in now.of_kind("trigger").items() if each == trigger_path}
        return script, read_all(store, triggers, Trigger).get(trigger_path)


def _local(given: Settings, folder: Path, path: str, trigger_path: str) -> tuple[Script, Trigger | None]:
    """The same from a folder; what the script imports is resolved as a push does it."""
    from shared.dependencies.locking import Dependencies
    from shared.workspace import read_workspace

    workspace = read_workspace(folder)
    if path not in workspace.scripts:
        raise _unknown(path, f"is in {folder}", workspace.scripts)
    alone = msgspec.structs.replace(workspace, scripts={path: workspace.scripts[path]})
    locked = Dependencies(given.worker.python, say=lambda text: click.echo(text, err=True)).lock(alone, {})
    trigger = next((file.trigger for file in workspace.triggers if file.trigger.path == trigger_path), None)
    return locked.scripts[path], trigger


def _excerpt(payload: bytes) -> str:
    text = payload[:_SHOWN].decode("utf-8", "replace")
    return text if len(payload) <= _SHOWN else f"{text}… ({len(payload)} bytes)"


def _unknown(path: str, where: str, known: Iterable[str]) -> UserError:
    near = get_close_matches(path, list(known), 1)
    return UserError(f"no script {path} {where}", hint=f"did you mean {near[0]}?" if near else "", path=path)


def _show(outcome: Outcome) -> None:
    if outcome.log:
        click.echo(printable_lines(outcome.log), err=True)
    if outcome.arguments is not None:
        click.echo(f"arguments {as_json(outcome.arguments)}", err=True)
    if outcome.error is not None:
        stack = f"\n{outcome.error.stack}" if outcome.error.stack else ""
        click.echo(printable_lines(f"{outcome.error.name}: {outcome.error.message}{stack}"), err=True)
    for message in outcome.messages:
        where = f" ({message.broker})" if message.broker else ""
        text = f"would publish {message.topic}{where} at QoS {message.qos}: {_excerpt(message.payload)}"
        click.echo(printable_lines(text), err=True)
    said = "succeeded" if outcome.ok else "failed"
    click.echo(f"{outcome.runnable} {said} in {duration(outcome.duration_ms)}", err=True)
    if outcome.ok or outcome.result is not None:
        click.echo(as_json(outcome.result))
