"""What a script is given for a message: payload, the preprocessor's event, and the context of `headrace.run`."""

from __future__ import annotations

from shared.envelope import Envelope
from shared.runs import RunSpec
from worker.runners.base import RunCall, mqtt_event


def call_of(run_id: str, attempt: int, spec: RunSpec, message: Envelope, *, has_preprocessor: bool) -> RunCall:
    """The call that executes a run. `attempt` counts from 1.

    The event is there only for a script that has a preprocessor; a script without one gets the payload alone, as
    Windmill does it. The payload goes as it was received: the child makes of it what the script's signature asks for.
    """
    return RunCall(
        run_id,
        message.payload,
        mqtt_event(message) if has_preprocessor else None,
        {
            "idempotency_key": spec.idempotency_key,
            "attempt": attempt,
            "trigger": spec.trigger,
            "topic": message.topic,
            "qos": message.qos,
            "captures": spec.captures,
            "received_at": message.received_at,
        },
    )
