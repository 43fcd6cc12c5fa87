"""What people and programs are told of the sessions that a deployment leaves behind."""

from __future__ import annotations

from typing import Any

from shared.left import Left
from shared.workspace.plan import Plan

_WHY = {
    "deleted": "is deleted and",
    "disabled": "is disabled and",
    "client id": "has another client id and",
    "broker": "has another broker and",
}


def left_lines(plan: Plan) -> list[str]:
    """What a deployment says of the sessions that it leaves behind."""
    lines = [_left_line(session, left) for session, left in plan.left.items()]
    lines += [
        f"trigger {path} goes to another address: if the broker there does not have its session, the one that it has "
        "now is left behind, and headrace sessions lists it"
        for path in plan.moving
    ]
    return [f"note: {line}" for line in lines]


def left_report(plan: Plan) -> dict[str, Any]:
    """The same for programs."""
    left = [
        {"session": session, "trigger": left.trigger, "client_id": left.client_id, "why": left.why}
        for session, left in plan.left.items()
    ]
    return {"sessions_left": left, "sessions_taken_up": list(plan.taken), "sessions_moving": plan.moving}


def _left_line(session: str, left: Left) -> str:
    begin = f"trigger {left.trigger} {_WHY[left.why]} leaves the session {session} (client id {left.client_id})"
    if left.why == "disabled":
        begin += ", which it takes up again when it is enabled"
    elif left.why == "client id":
        begin += ", where messages from now on wait too: drained, those run a second time"
    return (
        f"{begin}; how many messages wait there is not known (brokers do not tell); "
        f"'headrace sessions drain {session}' runs what waits and then ends it, "
        f"'headrace sessions end {session}' throws it away"
    )
