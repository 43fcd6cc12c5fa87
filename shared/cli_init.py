"""`headrace init`: a workspace folder to start from."""

from __future__ import annotations

import shlex
from pathlib import Path
from urllib.parse import urlsplit

import click

from shared.cli_common import settings
from shared.errors import UserError

_STARTER = Path(__file__).parent / "starter"
_HIDDEN = {"gitignore": ".gitignore"}
_DEFAULT_PORT = 1883


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), metavar="[DIR]", default=".")
def init(folder: Path) -> None:
    """Write a workspace into the folder DIR (default: this one): code, a trigger, a broker, a test, a Procfile.

    The broker is the one of the setting `broker`. A file that is there already is never overwritten: then nothing is
    written.
    """
    address = urlsplit(settings().broker)
    texts = {name: text.replace("@HOST@", address.hostname or "127.0.0.1") for name, text in _starter().items()}
    texts = {name: text.replace("@PORT@", str(address.port or _DEFAULT_PORT)) for name, text in texts.items()}
    if there := [name for name in texts if (folder / name).exists()]:
        message = f"{', '.join(there)}: there already, nothing was written"
        raise UserError(message, hint="name a new folder, for example headrace init my-workspace")
    for name, text in texts.items():
        try:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with (folder / name).open("x", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise UserError(f"{folder / name} cannot be written: {error.strerror}") from error
        click.echo(f"+  {folder / name}")
    where = shlex.quote(str(folder))
    click.echo(
        f"next:\n  headrace push {where}\n"
        """  headrace publish plant/north/temperature '{"value": 95, "unit": "F"}' --qos 2"""
    )


def _starter() -> dict[str, str]:
    """Text by name in the new folder."""
    files = sorted(path for path in _STARTER.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {
        _HIDDEN.get(name, name): path.read_text(encoding="utf-8")
        for path in files
        if (name := path.relative_to(_STARTER).as_posix())
    }
