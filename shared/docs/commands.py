"""The page of all commands, from what they say about themselves with --help."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import cleandoc
from typing import Any

from shared.cli import COMMANDS, headrace
from shared.docs.page import page, table

_INTRODUCTION = """\
# Commands

`headrace --help` lists the commands, `headrace COMMAND --help` says what stands here. `python -m ingest`,
`python -m dispatch` and `python -m worker` are the same as the commands of these names.

Data goes to stdout, everything else to stderr. With `--json` a command prints JSON: its keys may become more in a later
release, but do not change their meaning.

| Exit status | Meaning |
| --- | --- |
| 0 | done |
| 1 | the thing asked for failed |
| 2 | wrong usage, or a wrong setting |
| 130 | interrupted (Ctrl-C) |

Every command reads [settings](configuration.md) from `headrace.toml` and the environment, `REDIS_URL` above all."""


def render() -> str:
    """The whole page."""
    parts = [_INTRODUCTION]
    root = headrace.make_context("headrace", [], resilient_parsing=True)
    section = ""
    for name, entry in COMMANDS.items():
        if entry.section != section:
            section = entry.section
            parts.append(f"## {section}")
        parts += _command(name, headrace.get_command(root, name), root)
    return page(*parts)


def _command(name: str, command: Any, parent: Any) -> Iterator[str]:
    """A command and those below it. Its type is click's, which only the command line imports."""
    context = command.make_context(name, [], parent=parent, resilient_parsing=True)
    yield f"### `{context.command_path}`"
    yield f"```text\n{' '.join([context.command_path, *command.collect_usage_pieces(context)])}\n```"
    yield cleandoc(command.help or "")
    records = [parameter.get_help_record(context) or ("", "") for parameter in command.params]
    if rows := [(f"`{names}`", meaning) for names, meaning in records if meaning]:
        yield table(["Option", "Meaning"], rows)
    for child in getattr(command, "commands", {}).values():
        yield from _command(child.name, child, context)
