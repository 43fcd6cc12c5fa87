"""What a keeper is given to keep: a trigger as deployed, with its broker."""

from __future__ import annotations

import msgspec

from shared.definitions import Broker, Trigger


class Assignment(msgspec.Struct, frozen=True):
    """A trigger as deployed, its version, and its broker."""

    trigger: Trigger
    version: str
    broker: Broker

    @property
    def connection(self) -> tuple[object, ...]:
        """All that a connection depends on: if it changes, the session is connected anew."""
        trigger = self.trigger
        return (
            self.broker,
            trigger.path,
            trigger.client_id,
            trigger.client_version,
            trigger.clean_start,
            trigger.session_expiry_interval,
            trigger.topic_alias_maximum,
            trigger.receive_maximum,
            trigger.keep_alive_s,
            trigger.max_payload,
            any(topic.qos for topic in trigger.topics),
        )
