"""For how long a message is of use: pure. What its publisher says (expiry interval of MQTT 5), and its trigger."""

from __future__ import annotations

from shared.definitions import Trigger
from shared.envelope import Envelope

_MS_PER_S = 1000


def lifetime_ms(trigger: Trigger, envelope: Envelope) -> int | None:
    """From its admission on; None: for ever.

    A broker takes the time that a message has waited with it off the interval, in whole seconds (MQTT 5 §3.3.2.3.3):
    what is left may be up to a second more than it says, and nothing is dropped too early.
    """
    properties = envelope.properties
    interval_s = None if properties is None or trigger.expired == "run" else properties.message_expiry_interval
    bounds = [] if interval_s is None else [(interval_s + 1) * _MS_PER_S]
    if trigger.max_age_s is not None:
        bounds.append(trigger.max_age_s * _MS_PER_S)
    return min(bounds, default=None)
