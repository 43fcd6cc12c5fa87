"""`headrace runs again`: what a run did, once more, as a new run."""

from __future__ import annotations

import json
import time
from typing import Any, Final, TextIO

import click

from shared.again import Edits, run_again
from shared.cli_common import as_json, connected, settings
from shared.cli_filters import person
from shared.history import RunDetails, show
from shared.run_page import document, page
from shared.runs import LIVE
from shared.store import Store

_LOOK_EVERY_S: Final = 0.2


@click.command("again")
@click.argument("run_id", metavar="ID")
@click.option("--arg", "pairs", multiple=True, metavar="NAME=VALUE",
              help="Another value for an argument of main: JSON, else text. May be given several times.")  # fmt: skip
@click.option("--args", "file", type=click.File("r"), metavar="FILE",
              help="All arguments of main instead of the run's own: a JSON object; - reads stdin.")  # fmt: skip
@click.option("--latest", is_flag=True, help="Run the version that is deployed now, not the one of then.")
@click.option("--wait", is_flag=True, help="Wait for its end and show it; exit status 1 unless it succeeded.")
@click.option("--json", "json_output", is_flag=True, help="One JSON object.")
def again(
    run_id: str, *, pairs: tuple[str, ...], file: TextIO | None, latest: bool, wait: bool, json_output: bool
) -> int:
    """Run it again as a new run, with the same message or arguments, or with edited ones.

    The new run has an id and an idempotency key of its own and points at the old one, which stays as it is.
    """
    given = settings()
    edits = Edits(None if file is None else _object(file), dict(map(_pair, pairs)))
    with connected(given.redis_url) as store:
        new_id = run_again(store, run_id, edits, given.worker.default_timeout_s if latest else None, person())
        if not wait:
            click.echo(as_json({"id": new_id, "parent": run_id}) if json_output else f"{new_id}  queued")
            return 0
        ended = _ended(store, new_id)
    click.echo(as_json(document(ended)) if json_output else page(ended))
    return 0 if ended.run.state == "succeeded" else 1


def _ended(store: Store, run_id: str) -> RunDetails:
    while (details := show(store, run_id)).run.state in LIVE:
        time.sleep(_LOOK_EVERY_S)
    return details


def _pair(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--arg")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _object(file: TextIO) -> dict[str, Any]:
    try:
        found = json.load(file)
    except ValueError as error:
        raise click.BadParameter(f"{file.name} is not JSON: {error}", param_hint="--args") from error
    if not isinstance(found, dict):
        raise click.BadParameter(f"{file.name} holds no JSON object", param_hint="--args")
    return found
