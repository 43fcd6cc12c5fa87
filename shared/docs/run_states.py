"""The page of the states of a run, drawn from their table."""

from __future__ import annotations

from shared.docs.page import diagram, page, table
from shared.runs import LIVE, RQ_STATUS, TERMINAL, TRANSITIONS

_INTRODUCTION = """\
# The life of a run

A run is in one of these states. A change of state is one Lua verb in Redis, and only the changes of this table exist: a
verb that finds a run in another state changes nothing and says so.

`queued` covers a run that a worker has claimed: a claim is not a start. Dead letter is a mark on what ended badly
(`failed`, `interrupted`), not a state."""


def render() -> str:
    """The whole page."""
    moves = [(state, verb, after) for state, verbs in TRANSITIONS.items() for verb, after in verbs.items()]
    states = [
        [f"`{state}`", "live" if state in LIVE else "ended", f"`{RQ_STATUS[state]}`" if state in RQ_STATUS else ""]
        for state in (*LIVE, *TERMINAL)
    ]
    return page(
        _INTRODUCTION,
        diagram(("[*]" if state == "new" else state, verb, after) for state, verb, after in moves),
        table(["From", "By", "To"], [[f"`{state}`", verb, f"`{after}`"] for state, verb, after in moves]),
        "## As RQ's tools see it",
        table(["State", "", "RQ status"], states),
    )
