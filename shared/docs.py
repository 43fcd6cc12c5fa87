"""The reference pages that are rendered from the code: `python -m shared.docs` writes them, `--check` compares."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from shared.config import KEYS, OTHER_VARIABLES, Settings
from shared.config_keys import section_of
from shared.events import EVENTS
from shared.runs import LIVE, RQ_STATUS, TERMINAL, TRANSITIONS

COMMAND = "python -m shared.docs"
FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"

_CONFIGURATION = """\
# Configuration

Every setting has a default. A value is taken from the last of these places that names it:

1. the default,
2. `headrace.toml` in the folder where the process starts, or the file that `HEADRACE_CONFIG` names,
3. the environment: `max_payload` of section `ingest` is `HEADRACE_INGEST__MAX_PAYLOAD`.

A key or a `HEADRACE_` variable that is not listed here is an error, and so is a value of the wrong type. An empty
variable counts as not set. Units are in the names: `_s` seconds, `_ms` milliseconds, `_mib` MiB; sizes without a unit
are bytes.

```toml
redis_url = "redis://redis.example:6379/0"

[ingest]
max_payload = 1048576

[worker]
default_timeout_s = 30
```"""

_EVENTS = """\
# Events

Processes report what happens on stderr: as lines for people, or as one JSON object per line with
`HEADRACE_LOG__FORMAT=json`. Healthy operation is silent but for one line per process start and per change of state.

A JSON object holds `event`, `level`, `timestamp`, `process`, `pid`, and those of the event's fields that apply; where
an error is reported it may hold `hint` and `traceback`, and where there is a sentence for people, `message`."""


_RUN_STATES = """\
# The life of a run

A run is in one of these states. A change of state is one Lua verb in Redis, and only the changes of this table exist: a
verb that finds a run in another state changes nothing and says so.

`queued` covers a run that a worker has claimed: a claim is not a start. Dead letter is a mark on what ended badly
(`failed`, `interrupted`), not a state."""


def render_configuration() -> str:
    """The page of all settings."""
    parts = [_CONFIGURATION]
    sections = [(field.name, section) for field in msgspec.structs.fields(Settings) if (section := section_of(field))]
    parts += _settings_section("General", Settings, "")
    for name, section in sections:
        parts += _settings_section(f"[{name}]", section, name)
    parts += [
        "## Other variables",
        _table(["Variable", "Meaning"], [[f"`{n}`", m] for n, m in OTHER_VARIABLES.items()]),
    ]
    return _page(parts)


def render_events() -> str:
    """The page of all events."""
    parts = [_EVENTS]
    for name, spec in EVENTS.items():
        rows = [[f"`{field}`", meaning] for field, meaning in spec.fields.items()]
        parts += [f"## `{name}`", f"*{spec.level}*: {spec.description}", _table(["Field", "Meaning"], rows)]
    return _page(parts)


def render_run_states() -> str:
    """The page of the states of a run, drawn from the table."""
    moves = [(state, verb, after) for state, verbs in TRANSITIONS.items() for verb, after in verbs.items()]
    arrows = [f"    {'[*]' if state == 'new' else state} --> {after}: {verb}" for state, verb, after in moves]
    states = [
        [f"`{state}`", "live" if state in LIVE else "ended", f"`{RQ_STATUS[state]}`" if state in RQ_STATUS else ""]
        for state in (*LIVE, *TERMINAL)
    ]
    return _page(
        [
            _RUN_STATES,
            "```mermaid\nstateDiagram-v2\n" + "\n".join(arrows) + "\n```",
            _table(["From", "By", "To"], [[f"`{state}`", verb, f"`{after}`"] for state, verb, after in moves]),
            "## As RQ's tools see it",
            _table(["State", "", "RQ status"], states),
        ]
    )


PAGES: list[tuple[Path, Callable[[], str]]] = [
    (FOLDER / "configuration.md", render_configuration),
    (FOLDER / "events.md", render_events),
    (FOLDER / "run-states.md", render_run_states),
]
"""Every generated page and what renders it."""


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or with `--check` name those that are not current; gives the exit status."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write(f"usage: {COMMAND} [--check]\n")
        return 2
    stale = [(path, text) for path, render in PAGES if _current(path) != (text := render())]
    if arguments:
        for path, _ in stale:
            sys.stderr.write(f"{path.relative_to(FOLDER.parent.parent)} is not current; run: {COMMAND}\n")
        return 1 if stale else 0
    for path, text in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


def _settings_section(title: str, section: type[msgspec.Struct], prefix: str) -> list[str]:
    keys = [key for path, key in KEYS.items() if path.rpartition(".")[0] == prefix]
    rows = [
        [
            f"`{key.path.rpartition('.')[2]}`",
            f"`{key.default}`" if key.default_is_value else key.default,
            key.expected,
            key.description,
        ]
        for key in keys
    ]
    return [f"## {title}", section.__doc__ or "", _table(["Key", "Default", "Value", "Meaning"], rows)]


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _page(parts: list[str]) -> str:
    return "\n\n".join([f"<!-- Rendered by {COMMAND}; edit the code, not this page. -->", *parts]) + "\n"


def _current(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
