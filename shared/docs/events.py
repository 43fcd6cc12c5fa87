"""The page of all events, from their table."""

from __future__ import annotations

from shared.docs.page import page, table
from shared.events import EVENTS

_INTRODUCTION = """\
# Events

Processes report what happens on stderr: as lines for people, or as one JSON object per line with
`HEADRACE_LOG__FORMAT=json`. Healthy operation is silent but for one line per process start and per change of state.

A JSON object holds `event`, `level`, `timestamp`, `process`, `pid`, and those of the event's fields that apply; where
an error is reported it may hold `hint` and `traceback`, and where there is a sentence for people, `message`."""


def render() -> str:
    """The whole page."""
    parts = [_INTRODUCTION]
    for name, spec in EVENTS.items():
        rows = [[f"`{field}`", meaning] for field, meaning in spec.fields.items()]
        parts += [f"## `{name}`", f"*{spec.level}*: {spec.description}", table(["Field", "Meaning"], rows)]
    return page(*parts)
