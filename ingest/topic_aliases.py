"""Topic aliases of one connection: what the broker means by a number (MQTT 5 §3.3.2.3.4)."""

from __future__ import annotations

from ingest.codec import MalformedPacket, Reason
from ingest.codec_framing import PacketType

_PUBLISH = PacketType.PUBLISH << 4


class TopicAliases:
    """The aliases that the broker has given so far, from 1 to the maximum that we allowed."""

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._topics: dict[int, str] = {}

    def resolve(self, topic: str, alias: int | None) -> str:
        """The topic that a PUBLISH with this topic and alias is for.

        Raises MalformedPacket for an alias that is out of range or was never given, and for no topic at all.
        """
        if alias is None:
            if not topic:
                raise MalformedPacket(Reason.PROTOCOL_ERROR, _PUBLISH, "neither topic nor topic alias")
            return topic
        if not 0 < alias <= self._maximum:
            raise MalformedPacket(
                Reason.TOPIC_ALIAS_INVALID, _PUBLISH, f"topic alias {alias}, where {self._maximum} is the maximum"
            )
        if topic:
            self._topics[alias] = topic
            return topic
        if alias not in self._topics:
            raise MalformedPacket(Reason.TOPIC_ALIAS_INVALID, _PUBLISH, f"topic alias {alias} was never given a topic")
        return self._topics[alias]
