"""`reply` of a trigger, as files say it."""

from __future__ import annotations

import pytest

from shared.definitions import Reply
from shared.workspace.problems import Problem, Problems
from shared.workspace.triggers import TriggerFile, read_trigger

TRIGGER = """\
script_path: f/a/script
mqtt_resource_path: f/a/broker
subscribe_topics:
  - topic: ask/{site}/now
    qos: qos1
  - topic: ask/{site}/{when}
    qos: qos1
"""


def read(text: str) -> tuple[TriggerFile | None, list[Problem]]:
    """The trigger with this line more, and what is wrong."""
    problems = Problems()
    return read_trigger("f/a/t.mqtt_trigger.yaml", TRIGGER + text, problems), problems.errors


@pytest.mark.parametrize(
    "text, reply",
    [
        ("", None),
        ("reply: false\n", None),
        ("reply: null\n", None),
        ("reply: true\n", Reply()),
        ("reply: {topic: 'told/{site}', qos: qos0, retain: true, errors: true}\n", Reply("told/{site}", 0, True, True)),  # noqa: FBT003 - in the order of the file
        ("reply: {topic: told}\n", Reply("told")),
    ],
)
def test_a_trigger_may_answer(text: str, reply: Reply | None) -> None:
    """With true, or with a table."""
    file, problems = read(text)
    assert problems == []
    assert file is not None
    assert file.trigger.reply == reply


@pytest.mark.parametrize(
    "text, key, word",
    [
        ("reply: yes please\n", "reply", "expected keys"),
        ("reply: {topic: 'told/+'}\n", "reply.topic", "wildcard"),
        ("reply: {topic: 'told/#'}\n", "reply.topic", "wildcard"),
        ("reply: {topic: '$share/g/told'}\n", "reply.topic", "wildcard"),
        ("reply: {topic: 'told/{when}'}\n", "reply.topic", "names {when}, which the filter 'ask/{site}/now' has not"),
        ("reply: {topic: 'told/a{'}\n", "reply.topic", "is not a named level"),
        ("reply: {qos: qos2}\n", "reply.qos", "expected one of qos0, qos1"),
        ("reply: {topc: a}\n", "reply.topc", "unknown key"),
    ],
)
def test_what_is_wrong_with_it_is_told(text: str, key: str, word: str) -> None:
    """Where it stands, and what would be right."""
    _, problems = read(text)
    (problem,) = problems
    assert problem.key == key
    assert word in problem.message, problem.message
