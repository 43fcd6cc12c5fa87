"""`headrace console`."""

from __future__ import annotations

import os
from pathlib import Path

import click


@click.command()
def console() -> int:
    """Serve HTTP.

    What the `wmill` client inside a script speaks to: variables, resources, state, runs of other scripts. Each run has
    a token that ends with it. Listens on this machine only.
    """
    from console.app import run_console
    from shared.config import load_settings
    from shared.logs import configure

    settings = load_settings(os.environ, Path.cwd())
    configure(settings.log, "console")
    return run_console(settings)
