"""`headrace worker`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from shared.config_sources import load_settings
from shared.logs import configure


@click.command()
def worker() -> None:
    """Run the code.

    Takes runs from the queue, executes each in a warm interpreter of its script's own, and records result and log.
    Settles what workers that died have left behind. Start as many as you have cores, on as many machines as you like.
    """
    from worker.app import run

    settings = load_settings(os.environ, Path.cwd())
    configure(settings.log, "worker")
    sys.exit(run(settings))
