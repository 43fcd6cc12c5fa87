"""`headrace dispatch`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from shared.config_sources import load_settings


@click.command()
def dispatch() -> int:
    """Turn stored messages into runs.

    Reads the inbox, finds the runnables that each message is for, and queues a run for each of them, in the same step
    that takes the message out of the inbox. Start as many as you like.
    """
    from dispatch.app import run_dispatch
    from shared import logs

    settings = load_settings(os.environ, Path.cwd())
    logs.configure(settings.log, "dispatch")
    return run_dispatch(settings)
