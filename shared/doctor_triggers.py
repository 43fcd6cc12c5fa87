"""What a trigger asks for that can lose messages, whatever the broker does. Pure."""

from __future__ import annotations

from shared.definitions import Trigger
from shared.left import lasts


def losing(trigger: Trigger) -> tuple[str, str] | None:
    """How messages of QoS 1 and 2 can be lost, and what to do; None where they cannot."""
    qos = max((topic.qos for topic in trigger.topics), default=0)
    if qos == 0 or not trigger.enabled:
        return None
    is_v3 = trigger.client_version == "v3"
    if trigger.clean_start:
        name = "v3_config.clean_session" if is_v3 else "v5_config.clean_start"
        lost = f"QoS {qos} messages that come while Headrace is not connected are lost"
        found = f"{name} is true: the broker forgets the session at every connect, and {lost}"
        return found, f"write {name}: false, or leave it out"
    if not lasts(trigger):
        return (
            f"its session ends with the connection, and QoS {qos} messages that come until the next one are lost",
            "leave v5_config.session_expiry_interval out (7 days), or write the seconds that an outage may last",
        )
    return None
