"""The page of the states of an MQTT connection, drawn from ingest's table.

`shared` imports nobody, so the table is fetched by name, as the command line fetches its commands.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from importlib import import_module

from shared.docs.page import diagram, page, table

_INTRODUCTION = """\
# The life of an MQTT connection

What ingest does with each packet hangs on the state of the connection that it came on. Only the changes of this table
exist: a packet that has no place in a state is a mistake of the broker's, and ends the connection with reason `0x82`
(protocol error).

This is one connection. A trigger's session goes through many; what `headrace status` shows of it (`connected`,
`reconnecting`, `refused`, …) is described in [connect to your broker](../howto/connect.md#what-status-shows)."""

_OR = " / "

Transitions = Mapping[enum.Enum, Mapping[enum.Enum, enum.Enum]]


def render() -> str:
    """The whole page."""
    module = import_module("ingest.session_states")
    transitions: Transitions = module.TRANSITIONS
    purposes = "\n".join(line for line in (module.__doc__ or "").splitlines() if line.startswith("|"))
    stays: dict[str, list[str]] = {}
    leads: dict[tuple[str, str], list[str]] = {}
    for state, row in transitions.items():
        for happened, after in row.items():
            if after is state:
                stays.setdefault(state.value, []).append(happened.value)
            else:
                leads.setdefault((state.value, after.value), []).append(happened.value)
    moves = [(state, _OR.join(what), after) for (state, after), what in leads.items()]
    return page(
        _INTRODUCTION,
        purposes,
        diagram([("[*]", "", "closed"), *moves]),
        table(["From", "On", "To"], [[f"`{state}`", what, f"`{after}`"] for state, what, after in moves]),
        "## What may come and leads nowhere else",
        table(["State", "Input"], [[f"`{state}`", _OR.join(what)] for state, what in stays.items()]),
    )
