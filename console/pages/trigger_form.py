"""A trigger as the editor's form, and the form as the trigger's file. Pure.

Everything is text, as it was typed: what is wrong with it is said by the check of the workspace, not twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from litestar.datastructures import FormMultiDict

from console.strangers import read_json
from shared.definitions import Topic
from shared.envelope import QoS
from shared.errors import HeadraceError
from shared.workspace.layout import TRIGGER
from shared.workspace.render import yaml_text

_QOS: Final = {"qos0": "0", "qos1": "1", "qos2": "2", 0: "0", 1: "1", 2: "2"}
_LEVELS: Final[Mapping[str, QoS]] = {"0": 0, "1": 1, "2": 2}
_NUMBERS: Final = ("timeout", "max_payload", "receive_maximum", "keep_alive", "max_age_s")
_TEXTS: Final = ("client_id", "client_version", "idempotency_key", "payload", "expired")
_FLAGS: Final = {"true": True, "false": False}


class TopicRow(msgspec.Struct, frozen=True):
    """A row of topics. `is_flow` by the kind of what `runnable` names."""

    topic: str = ""
    qos: str = "1"
    runnable: str = ""
    retained: str = ""
    is_flow: bool = False


class FilterRow(msgspec.Struct, frozen=True):
    """A row of filters; `value` is JSON, or a text that is none."""

    key: str = ""
    value: str = ""


class TriggerForm(msgspec.Struct, frozen=True):
    """The fields of the form; '' is not given. `is_flow` by the kind of what `script_path` names."""

    path: str = ""
    script_path: str = ""
    is_flow: bool = False
    mqtt_resource_path: str = ""
    mode: str = "enabled"
    topics: list[TopicRow] = []
    client_id: str = ""
    client_version: str = ""
    clean_start: str = ""
    session_expiry_interval: str = ""
    topic_alias_maximum: str = ""
    clean_session: str = ""
    retained: str = ""
    timeout: str = ""
    max_payload: str = ""
    receive_maximum: str = ""
    keep_alive: str = ""
    filters: list[FilterRow] = []
    filter_logic: str = "and"
    idempotency_key: str = ""
    payload: str = ""
    constant_attempts: str = ""
    constant_seconds: str = ""
    exponential_attempts: str = ""
    exponential_multiplier: str = ""
    exponential_seconds: str = ""
    exponential_random_factor: str = ""
    retry_if: str = ""
    error_handler_path: str = ""
    error_handler_args: str = ""
    reply: str = ""
    reply_topic: str = ""
    reply_qos: str = ""
    reply_retain: str = ""
    reply_errors: str = ""
    max_age_s: str = ""
    expired: str = ""
    retention_runs_max: str = ""
    retention_runs_max_age_s: str = ""

    @property
    def file(self) -> str:
        """The trigger's file in the workspace."""
        return self.path + TRIGGER

    def draft_topics(self) -> list[Topic]:
        """The topics, to try them at a broker."""
        return [Topic(row.topic, _LEVELS[row.qos]) for row in self.topics if row.qos in _LEVELS]


def form_of(path: str, document: Mapping[str, Any]) -> TriggerForm:
    """The form for a trigger's file, as JSON."""
    v5, v3, retry = (_table(document, name) for name in ("v5_config", "v3_config", "retry"))
    constant, exponential, retry_if = (_table(retry, name) for name in ("constant", "exponential", "retry_if"))
    reply, retention = _table(document, "reply"), _table(document, "retention")
    fields = {name: _text(document.get(name)) for name in (*_NUMBERS, *_TEXTS, "retained", "error_handler_path")}
    enabled = "disabled" if document.get("enabled") is False else "enabled"
    return TriggerForm(
        path=path,
        script_path=_text(document.get("script_path")),
        is_flow=document.get("is_flow") is True,
        mqtt_resource_path=_text(document.get("mqtt_resource_path")),
        mode=_text(document.get("mode")) or enabled,
        topics=[_topic_row(each) for each in document.get("subscribe_topics") or [] if isinstance(each, dict)],
        clean_start=_text(v5.get("clean_start")),
        session_expiry_interval=_text(v5.get("session_expiry_interval")),
        topic_alias_maximum=_text(v5.get("topic_alias_maximum")),
        clean_session=_text(v3.get("clean_session")),
        filters=[
            FilterRow(_text(each.get("key")), json.dumps(each.get("value"), ensure_ascii=False))
            for each in document.get("filters") or []
            if isinstance(each, dict)
        ],
        filter_logic=_text(document.get("filter_logic")) or "and",
        constant_attempts=_text(constant.get("attempts")),
        constant_seconds=_text(constant.get("seconds")),
        exponential_attempts=_text(exponential.get("attempts")),
        exponential_multiplier=_text(exponential.get("multiplier")),
        exponential_seconds=_text(exponential.get("seconds")),
        exponential_random_factor=_text(exponential.get("random_factor")),
        retry_if=_text(retry_if.get("expr")),
        error_handler_args=_json_text(document.get("error_handler_args")),
        reply="true" if document.get("reply") is True or isinstance(document.get("reply"), dict) else "",
        reply_topic=_text(reply.get("topic")),
        reply_qos=_QOS.get(reply.get("qos", ""), ""),
        reply_retain=_text(reply.get("retain")),
        reply_errors=_text(reply.get("errors")),
        retention_runs_max=_text(retention.get("runs_max")),
        retention_runs_max_age_s=_text(retention.get("runs_max_age_s")),
        **fields,
    )


def read_form(form: FormMultiDict, flows: Sequence[str]) -> TriggerForm:
    """What was sent; rows without a topic or key are none. `flows` are the paths of flows."""

    def one(name: str) -> str:
        value = form.get(name)
        return value.strip().replace("\r\n", "\n") if isinstance(value, str) else ""

    def many(name: str) -> list[str]:
        return [value.strip() if isinstance(value, str) else "" for value in form.getall(name, [])]

    lists = {"topics", "filters", "is_flow"}
    fields = {name: one(name) for name in TriggerForm.__struct_fields__ if name not in lists}
    rows = zip(many("topic"), many("topic_qos"), many("topic_runnable"), many("topic_retained"), strict=False)
    filters = zip(many("filter_key"), many("filter_value"), strict=False)
    return TriggerForm(
        topics=[TopicRow(*row, is_flow=row[2] in flows) for row in rows if row[0]],
        filters=[FilterRow(*row) for row in filters if row[0]],
        is_flow=fields["script_path"] in flows,
        **fields,
    )


def text_of(form: TriggerForm, before: Mapping[str, Any]) -> str:
    """The trigger's file. What the form does not know stays as it was before; comments are not kept."""
    unknown = {name: value for name, value in before.items() if name not in _KNOWN}
    known = _known(form)
    if form.mode == "enabled" and "mode" not in before:
        known["mode"] = ""
    return yaml_text(_given(known) | unknown)


_KNOWN: Final = frozenset(
    {"script_path", "is_flow", "mqtt_resource_path", "mode", "enabled", "subscribe_topics", "v5_config", "v3_config"}
    | {"filters", "filter_logic", "retry", "error_handler_path", "error_handler_args", "retained", *_NUMBERS, *_TEXTS}
    | {"reply", "retention"}
)


def _known(form: TriggerForm) -> dict[str, Any]:
    is_v3 = form.client_version == "v3"
    v5 = {
        "clean_start": _FLAGS.get(form.clean_start),
        "session_expiry_interval": _number(form.session_expiry_interval),
        "topic_alias_maximum": _number(form.topic_alias_maximum),
    }
    return {
        "script_path": form.script_path,
        "is_flow": form.is_flow,
        "mqtt_resource_path": form.mqtt_resource_path,
        "mode": form.mode,
        "client_id": form.client_id,
        "client_version": form.client_version,
        "v5_config": {} if is_v3 else _given(v5),
        "v3_config": _given({"clean_session": _FLAGS.get(form.clean_session)}) if is_v3 else {},
        "subscribe_topics": [_topic(row) for row in form.topics],
        "retained": form.retained,
        "payload": form.payload,
        "filters": [{"key": row.key, "value": _value(row.value)} for row in form.filters],
        "filter_logic": form.filter_logic if len(form.filters) > 1 else "",
        "idempotency_key": form.idempotency_key,
        **{name: _number(getattr(form, name)) for name in _NUMBERS},
        "expired": form.expired,
        "retention": _given(
            {
                "runs_max": _number(form.retention_runs_max),
                "runs_max_age_s": _number(form.retention_runs_max_age_s),
            }
        ),
        "reply": _reply(form),
        "retry": _retry(form),
        "error_handler_path": form.error_handler_path,
        "error_handler_args": _value(form.error_handler_args) if form.error_handler_args else None,
    }


def _retry(form: TriggerForm) -> dict[str, Any]:
    constant = {"attempts": _number(form.constant_attempts), "seconds": _number(form.constant_seconds)}
    exponential = {
        "attempts": _number(form.exponential_attempts),
        "multiplier": _number(form.exponential_multiplier),
        "seconds": _number(form.exponential_seconds),
        "random_factor": _number(form.exponential_random_factor),
    }
    condition = {"expr": form.retry_if} if form.retry_if else {}
    return _given({"constant": _given(constant), "exponential": _given(exponential), "retry_if": condition})


def _reply(form: TriggerForm) -> Any:
    """`true` where nothing else is said; where it is off, what was typed for it is left out."""
    if form.reply != "true":
        return None
    qos = f"qos{form.reply_qos}" if form.reply_qos else ""
    flags = {"retain": _FLAGS.get(form.reply_retain), "errors": _FLAGS.get(form.reply_errors)}
    return _given({"topic": form.reply_topic, "qos": qos} | flags) or True


def _topic(row: TopicRow) -> dict[str, Any]:
    named = {"runnable": row.runnable, "is_flow": row.is_flow or None, "retained": row.retained}
    return {"topic": row.topic, "qos": f"qos{row.qos}"} | _given(named)


def _topic_row(entry: Mapping[str, Any]) -> TopicRow:
    qos = _QOS.get(entry.get("qos", ""), "0")
    runnable, retained = _text(entry.get("runnable")), _text(entry.get("retained"))
    return TopicRow(_text(entry.get("topic")), qos, runnable, retained, entry.get("is_flow") is True)


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Without what was not given; false and 0 were."""
    return {name: value for name, value in fields.items() if value not in (None, "", {}, [])}


def _number(text: str) -> Any:
    """As a number where it is one; else the check says so."""
    return int(text) if text.lstrip("-").isdecimal() else text


def _value(text: str) -> Any:
    """As JSON where it is, else as the text that it is."""
    try:
        return read_json(text)
    except HeadraceError:
        return text


def _table(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _json_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) if value else ""
