"""`headrace runs restart`: a flow once more, from one of its steps on."""

from __future__ import annotations

import click

from shared.cli_common import as_json, connected, settings
from shared.cli_filters import person
from shared.flow_restart import restart_run


@click.command("restart")
@click.argument("run_id", metavar="ID")
@click.option("--step", required=True, metavar="STEP",
              help="Its id; within a loop, branch or flow its key as `runs show --json` has it: l/3/x. "
                   "l/3 is the whole iteration or branch.")  # fmt: skip
@click.option("--latest", is_flag=True, help="Run the version of the flow that is deployed now, not the one of then.")
@click.option("--json", "json_output", is_flag=True, help="One JSON object.")
def restart(run_id: str, *, step: str, latest: bool, json_output: bool) -> None:
    """Run a flow again from one of its steps on, as a new run.

    What the steps before it have come to is taken over; they are not executed. Of parallel iterations and branches the
    others keep what they came to, if that was a result; those that failed begin anew. The run itself stays as it is.
    To have a run of a flow that failed go on where it failed: headrace dead retry ID.
    """
    given = settings()
    with connected(given.redis_url) as store:
        new_id = restart_run(store, run_id, step, given.worker.default_timeout_s if latest else None, person())
    click.echo(as_json({"id": new_id, "parent": run_id}) if json_output else f"{new_id}  queued")
