"""`dead_letters`, in `headrace.yaml`: the broker and the topics where dead letters are told of."""

from __future__ import annotations

from typing import Literal

import msgspec

from shared.definitions import DeadTopic
from shared.errors import TopicError
from shared.topics import validate_topic
from shared.workspace.yaml_lines import Table

_QOS: dict[str | int, Literal[0, 1]] = {"qos0": 0, "qos1": 1, 0: 0, 1: 1}


class DeadTopicEntry(msgspec.Struct, frozen=True):
    """What the file says, and where it names the broker."""

    topic: DeadTopic
    file: str
    broker_line: int


def read_dead_topic(table: Table) -> DeadTopicEntry | None:
    """The table `dead_letters`; None where it is not given."""
    if (dead := table.table("dead_letters")) is None:
        return None
    broker = dead.text("mqtt_resource_path", required=True)
    prefix = dead.text("topic_prefix") or "headrace"
    qos = dead.choice("qos", _QOS)
    try:
        validate_topic(prefix)
    except TopicError as error:
        dead.error("topic_prefix", error.message, error.hint)
    dead.close()
    if broker is None:
        return None
    topic = DeadTopic(broker, prefix.removesuffix("/"), 1 if qos is None else qos)
    return DeadTopicEntry(topic, dead.file, dead.line("mqtt_resource_path"))
