"""`headrace console`."""

from __future__ import annotations

import os
from pathlib import Path

import click


@click.command()
def console() -> int:
    """Serve HTTP: the web console, its API, and what the `wmill` client inside a script speaks to.

    Nobody is let in who does not log in. As long as there are no tokens, the ready line holds an address that logs a
    browser in, once; headrace login makes another. With an address that others reach it starts only when there is a
    token. Each run has a token of its own that ends with it.
    """
    from console.app import run_console
    from shared.config_sources import load_settings
    from shared.logs import configure

    settings = load_settings(os.environ, Path.cwd())
    configure(settings.log, "console")
    return run_console(settings)
