"""`headrace dispatch`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from shared.config import load_settings
from shared.logs import configure


@click.command()
def dispatch() -> None:
    """Turn stored messages into runs.

    Reads the inbox, finds the runnables that each message is for, and queues a run for each of them, in the same step
    that takes the message out of the inbox. Start as many as you like.
    """
    from dispatch.app import run

    settings = load_settings(os.environ, Path.cwd())
    configure(settings.log, "dispatch")
    sys.exit(run(settings))
