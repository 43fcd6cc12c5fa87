"""`reply` of a trigger: `true`, or a table with `topic`, `qos`, `retain` and `errors`. A field of ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from shared.definitions import Reply, Topic
from shared.errors import TopicError
from shared.topics import parse_filter
from shared.workspace.yaml_lines import Table

KEY = "reply"
_QOS: dict[str | int, Literal[0, 1]] = {"qos0": 0, "qos1": 1, 0: 0, 1: 1}


def read_reply(table: Table, topics: Sequence[Topic]) -> Reply | None:
    """How results answer messages; None where they do not. Every level that the reply's topic names, each of the
    trigger's `topics` has to name as well.
    """
    if isinstance(table.data(KEY), bool):
        return Reply() if table.flag(KEY) else None
    if (reply := table.table(KEY)) is None:
        return None
    topic = reply.text("topic")
    found = Reply(
        topic=topic,
        qos=1 if (qos := reply.choice("qos", _QOS)) is None else qos,
        retain=reply.flag("retain") is True,
        errors=reply.flag("errors") is True,
    )
    if topic is not None:
        _check(reply, topic, topics)
    reply.close()
    return found


def _check(reply: Table, topic: str, topics: Sequence[Topic]) -> None:
    try:
        template = parse_filter(topic)
    except TopicError as error:
        reply.error("topic", error.message, error.hint)
        return
    named = dict(template.names)
    if template.share is not None or any(
        level in {"+", "#"} and index not in named.values() for index, level in enumerate(template.levels)
    ):
        reply.error("topic", f"{topic!r} has a wildcard, and is to be published to", "name the level: {site}")
    for entry in topics:
        try:
            known = dict(parse_filter(entry.topic).names)
        except TopicError:  # told where the topic is read
            continue
        if missing := sorted(named.keys() - known.keys()):
            message = f"names {{{missing[0]}}}, which the filter {entry.topic!r} has not"
            reply.error("topic", message, f"write a level {{{missing[0]}}} in the filter")
