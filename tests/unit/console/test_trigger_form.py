"""The editor's form and the trigger's file tell the same."""

from __future__ import annotations

from typing import Any

import pytest
from litestar.datastructures import FormMultiDict

from console.pages.trigger_form import FilterRow, TopicRow, TriggerForm, form_of, read_form, text_of
from shared.workspace.problems import Problems
from shared.workspace.triggers import read_trigger
from shared.workspace.yaml_lines import read_document

WHOLE = """\
# how full the tanks are
script_path: f/t/on_level
is_flow: false
mqtt_resource_path: f/t/broker
mode: suspended
summary: levels
client_id: tanks
client_version: v5
v5_config:
  clean_start: false
  session_expiry_interval: 3600
  topic_alias_maximum: 5
subscribe_topics:
  - topic: t/{tank}/level
    qos: qos2
    runnable: f/t/other
    retained: skip
  - topic: on/{tank}
    qos: 0
    runnable: f/t/a_flow
    is_flow: true
retained: run
payload: json
filters:
  - key: kind
    value: alarm
  - key: n
    value: [1, null]
filter_logic: or
idempotency_key: payload.id
timeout: 30
max_payload: 1000
receive_maximum: 10
keep_alive: 20
retry:
  constant:
    attempts: 2
    seconds: 5
  exponential:
    attempts: 3
    multiplier: 2
    seconds: 4
    random_factor: 10
  retry_if:
    expr: error.name !== 'ValueError'
error_handler_path: f/t/alarm
error_handler_args:
  to: ops
reply:
  topic: t/{tank}/answer
  qos: qos0
  retain: true
  errors: true
max_age_s: 60
expired: run
retention:
  runs_max: 1000
  runs_max_age_s: 3600
"""


def meaning(text: str) -> Any:
    """The trigger that a file describes; it has to be without fault."""
    problems = Problems()
    found = read_trigger("f/t/level.mqtt_trigger.yaml", text, problems)
    assert problems.errors == []
    assert found is not None
    return found.trigger


def test_a_file_that_goes_through_the_form_means_the_same() -> None:
    """Every key, and what the form does not know stays."""
    document = read_document("", WHOLE)
    again = text_of(form_of("f/t/level", document), document)
    assert meaning(again) == meaning(WHOLE)
    assert read_document("", again) == document | {"subscribe_topics": read_document("", again)["subscribe_topics"]}
    assert "summary: levels" in again


def test_the_shortest_file_stays_as_it_is() -> None:
    """Nothing is written that was not given."""
    short = (
        "script_path: f/t/on_level\nis_flow: false\nmqtt_resource_path: f/t/broker\nsubscribe_topics:\n"
        "  - topic: t/#\n    qos: qos1\n"
    )
    document = read_document("", short)
    assert text_of(form_of("f/t/level", document), document) == short


def test_a_reply_with_nothing_said_of_it_is_a_plain_yes() -> None:
    """And one that is off leaves nothing behind, whatever was typed beside it."""
    assert read_document("", text_of(TriggerForm(reply="true"), {}))["reply"] is True
    assert form_of("f/t/x", {"reply": True}).reply == form_of("f/t/x", {"reply": {"errors": True}}).reply == "true"
    assert form_of("f/t/x", {"reply": False}).reply == ""
    assert "reply" not in read_document("", text_of(TriggerForm(reply_topic="a/b"), {"reply": True}))


def test_a_topic_that_runs_a_flow_says_so() -> None:
    """By what is deployed under the path."""
    sent = FormMultiDict(
        [("script_path", "f/t/script"), ("topic", "a"), ("topic_qos", "1"), ("topic_runnable", "f/t/flow"),
         ("topic_retained", "")]
    )  # fmt: skip
    form = read_form(sent, ["f/t/flow"])
    assert (form.is_flow, form.topics) == (False, [TopicRow("a", "1", "f/t/flow", "", is_flow=True)])
    assert read_document("", text_of(form, {}))["subscribe_topics"][0]["is_flow"] is True


def test_a_mode_that_is_taken_back_is_written_down() -> None:
    """Where the file named one before."""
    document = read_document("", WHOLE)
    form = form_of("f/t/level", document)
    assert "mode: suspended" in text_of(form, document)
    enabled = TriggerForm(**{name: getattr(form, name) for name in form.__struct_fields__} | {"mode": "enabled"})
    assert "mode: enabled" in text_of(enabled, document)


def test_rows_without_a_topic_or_key_are_none() -> None:
    """The form has an empty one for those without scripts."""
    sent = FormMultiDict(
        [
            ("script_path", " f/t/flow "), ("topic", "a/#"), ("topic_qos", "2"), ("topic_runnable", ""),
            ("topic_retained", "skip"), ("topic", ""), ("topic_qos", "1"), ("topic_runnable", ""),
            ("topic_retained", ""),
            ("filter_key", ""), ("filter_value", "1"), ("filter_key", "k"), ("filter_value", "text"),
        ]
    )  # fmt: skip
    form = read_form(sent, ["f/t/flow"])
    assert (form.topics, form.filters) == ([TopicRow("a/#", "2", "", "skip")], [FilterRow("k", "text")])
    assert (form.script_path, form.is_flow) == ("f/t/flow", True)


@pytest.mark.parametrize("version, there, gone", [("v5", "v5_config", "v3_config"), ("v3", "v3_config", "v5_config")])
def test_options_of_the_other_protocol_are_left_out(version: str, there: str, gone: str) -> None:
    """Hidden fields keep what was typed; the file does not."""
    form = TriggerForm(path="f/t/x", client_version=version, clean_start="false", clean_session="false")
    document = read_document("", text_of(form, {}))
    assert there in document
    assert gone not in document


def test_a_number_that_is_none_is_left_to_the_check() -> None:
    """Which says file, line and key."""
    form = TriggerForm(
        path="f/t/x", script_path="f/t/s", mqtt_resource_path="f/t/b", topics=[TopicRow("a")], timeout="soon"
    )
    problems = Problems()
    read_trigger("f/t/x.mqtt_trigger.yaml", text_of(form, {}), problems)
    assert [problem.key for problem in problems.errors] == ["timeout"]
