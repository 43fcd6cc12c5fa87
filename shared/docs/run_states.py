"""The page of the states of a run, drawn from their table."""

from __future__ import annotations

from shared.docs.page import diagram, page, table
from shared.runs import CAUSES, LIVE, RQ_REGISTRY, RQ_STATUS, RQ_STOPPED, TERMINAL, TRANSITIONS

_INTRODUCTION = """\
# The life of a run

A run is in one of these states. A change of state is one Lua verb in Redis, and only the changes of this table exist: a
verb that finds a run in another state changes nothing and says so.

`queued` covers a run that a worker has claimed: a claim is not a start. `scheduled` is a run that has failed and waits
for its [retry](../howto/retry-and-handle-errors.md), `suspended` one whose [trigger was
suspended](../howto/pause-a-trigger.md) when it was made. `filtered` has a counter and no record. Dead letter is a mark
on what ended badly (`failed`, `interrupted`), not a state."""

_RQ = f"""\
## As RQ's tools see it

RQ's status and registries are a function of the state, changed in the same step; `headrace doctor` compares them. What
was cancelled while it ran has the status `{RQ_STOPPED}`. A queued run is in the queue's list, or claimed by a worker.

RQ's own scheduler (`rq worker --with-scheduler`) never gets the lock of our queue: the workers hold it, and promote
what is scheduled themselves."""


def render() -> str:
    """The whole page."""
    moves = [(state, cause, after) for state, causes in TRANSITIONS.items() for cause, after in causes.items()]
    names = ", ".join
    return page(
        _INTRODUCTION,
        diagram(("[*]" if state == "new" else state, cause, after) for state, cause, after in moves),
        table(["From", "By", "To"], [[f"`{state}`", cause, f"`{after}`"] for state, cause, after in moves]),
        "## What happens, and who makes it happen",
        table(
            ["What", "Who", "Verb", "When"],
            [
                [name, cause.who, names(f"`{verb}`" for verb in cause.verbs), cause.when]
                for name, cause in CAUSES.items()
            ],
        ),
        _RQ,
        table(["State", "", "RQ status", "RQ registry"], [_as_rq_sees(state) for state in (*LIVE, *TERMINAL)]),
    )


def _as_rq_sees(state: str) -> list[str]:
    status, registry = RQ_STATUS.get(state), RQ_REGISTRY.get(state)
    life = "live" if state in LIVE else "ended"
    return [f"`{state}`", life, f"`{status}`" if status else "", f"`{registry}`" if registry else ""]
