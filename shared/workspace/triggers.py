"""MQTT triggers: `<path>.mqtt_trigger.yaml`, with Windmill's keys and some of ours (which Windmill ignores)."""

from __future__ import annotations

from typing import Literal

import msgspec

from shared.definitions import ErrorHandler, Expired, Filter, Mode, PayloadFormat, Retained, Topic, Trigger
from shared.envelope import QoS
from shared.errors import TopicError
from shared.expressions import check
from shared.topics import TopicFilter, common_topic, parse_filter
from shared.workspace.layout import TRIGGER as SUFFIX
from shared.workspace.problems import Problems
from shared.workspace.replies import read_reply
from shared.workspace.retention import MAX_AGE_S, read_retention
from shared.workspace.retries import HandlerEntry, read_handler, read_retry
from shared.workspace.scripts import MAX_TIMEOUT_S
from shared.workspace.yaml_lines import Table, read_yaml

_QOS: dict[str | int, QoS] = {"qos0": 0, "qos1": 1, "qos2": 2, 0: 0, 1: 1, 2: 2}
_RETAINED: dict[str | int, Retained] = {"run": "run", "skip": "skip"}
_EXPIRED: dict[str | int, Expired] = {"run": "run", "skip": "skip"}
_MODES: dict[str | int, Mode] = {"enabled": "enabled", "disabled": "disabled", "suspended": "suspended"}
_VERSIONS: dict[str | int, Literal["v3", "v5"]] = {"v5": "v5", "v3": "v3"}
_LOGIC: dict[str | int, Literal["and", "or"]] = {"and": "and", "or": "or"}
_PAYLOADS: dict[str | int, PayloadFormat] = {"windmill": "windmill", "json": "json", "text": "text", "base64": "base64"}
_NOTHING_TO_DO = ("summary", "description", "labels", "permissioned_as", "has_permissioned_as")
_NOT_YET = ("on_behalf_of_email",)
_UINT16, _UINT32 = 65_535, 4_294_967_295
_MAX_PAYLOAD = 64 * 1024 * 1024  # as in the settings: Redis does nothing else while it stores one


class TriggerFile(msgspec.Struct, frozen=True):
    """A trigger as its file describes it.

    `trigger` has no session yet, no versions of its runnables, and a client id only if the file gives one.
    `runnables` are the paths that it names, each with the line where it does; `flows` those of them that are flows.
    `handler` is its own error handler.
    """

    file: str
    trigger: Trigger
    runnables: dict[str, int]
    timeout_s: int | None
    broker_line: int
    client_id_line: int
    flows: frozenset[str] = frozenset()
    handler: HandlerEntry | None = None


class _Protocol(msgspec.Struct, frozen=True):
    """The part of a trigger that says how to speak MQTT."""

    client_version: Literal["v3", "v5"] | None
    clean_start: bool | None
    session_expiry_interval: int | None
    topic_alias_maximum: int


def read_trigger(file: str, text: str, problems: Problems) -> TriggerFile | None:
    """The trigger that a file describes; None, and problems, where it says too little."""
    if (table := read_yaml(file, text, problems)) is None:
        return None
    is_flow = table.flag("is_flow") is True
    script, broker = table.text("script_path", required=True), table.text("mqtt_resource_path", required=True)
    protocol = _protocol(table)
    topics, runnables, flows = _topics(table, protocol)
    client_id, mode = table.text("client_id"), _mode(table)
    timeout_s = table.integer("timeout", 1, MAX_TIMEOUT_S)
    receive_maximum = table.integer("receive_maximum", 1, _UINT16)
    keep_alive_s = table.integer("keep_alive", 1, _UINT16)
    max_payload = table.integer("max_payload", 1, _MAX_PAYLOAD)
    filters, filter_logic = _filters(table), table.choice("filter_logic", _LOGIC) or "and"
    key, payload = _expression(table, "idempotency_key"), table.choice("payload", _PAYLOADS) or "windmill"
    max_age_s = table.integer("max_age_s", 1, MAX_AGE_S)
    expired, retention = table.choice("expired", _EXPIRED) or "skip", read_retention(table)
    retry, handler = read_retry(table), read_handler(table, "error_handler_path", "error_handler_args")
    reply = read_reply(table, topics)
    table.allow(*_NOTHING_TO_DO)
    table.not_yet(*_NOT_YET)
    table.close()
    if script is None or broker is None or not topics:
        return None
    trigger = Trigger(
        path=file.removesuffix(SUFFIX), session="", client_id=client_id or "", broker=broker, runnable=script,
        runnables={}, topics=topics, enabled=mode != "disabled", client_version=protocol.client_version,
        clean_start=protocol.clean_start, session_expiry_interval=protocol.session_expiry_interval,
        topic_alias_maximum=protocol.topic_alias_maximum, receive_maximum=receive_maximum, keep_alive_s=keep_alive_s,
        max_payload=max_payload, filters=filters, filter_logic=filter_logic, idempotency_key=key, payload=payload,
        retry=retry, error_handler=handler.handler if handler else None,
        suspended=mode == "suspended", max_age_s=max_age_s, expired=expired, retention=retention, reply=reply,
    )  # fmt: skip
    _warn_of_loss(table, trigger)
    if script in runnables and (script in flows) != is_flow:
        _refuse_namesake(table, "script_path", script)
    flows |= {script} if is_flow else set()
    if handler is not None and handler.handler.path in {script, *runnables}:
        _check_namesake(table, handler.handler, flows)
    lines = {script: table.line("script_path")} | runnables
    places = table.line("mqtt_resource_path"), table.line("client_id")
    return TriggerFile(file, trigger, lines, timeout_s, *places, frozenset(flows), handler)


def _filters(table: Table) -> list[Filter]:
    found: list[Filter] = []
    for entry in table.tables("filters"):
        key, value = entry.text("key", required=True), entry.data("value")
        if not entry.known("value"):
            entry.error("value", "missing", "write what the payload has at this key; null is a value too")
        entry.close()
        if key is not None:
            found.append(Filter(key, value))
    return found


def _expression(table: Table, key: str) -> str | None:
    """A JavaScript expression."""
    text = table.text(key)
    if text is not None and (wrong := check(text)):
        table.error(key, f"not an expression: {wrong}", "write JavaScript, for example payload.id")
    return text


def _mode(table: Table) -> Mode:
    """`mode` wins over the older `enabled`, as in Windmill; without either the trigger is enabled."""
    older = table.flag("enabled")
    if not table.given("mode"):
        return "disabled" if older is False else "enabled"
    return table.choice("mode", _MODES) or "enabled"


def _protocol(table: Table) -> _Protocol:
    version = table.choice("client_version", _VERSIONS)
    v5, v3 = table.table("v5_config"), table.table("v3_config")
    clean_start = clean_session = expiry = None
    aliases = 0
    if v5 is not None:
        clean_start = v5.flag("clean_start")
        expiry = v5.integer("session_expiry_interval", 0, _UINT32)
        aliases = v5.integer("topic_alias_maximum", 0, _UINT16) or 0
        v5.close()
    if v3 is not None:
        clean_session = v3.flag("clean_session")
        v3.close()
    if version == "v3":
        if v5 is not None:
            table.warn("v5_config", "not used, because client_version is v3")
        return _Protocol(version, clean_session, None, 0)
    if v3 is not None:
        table.warn("v3_config", "not used: the trigger speaks MQTT 5", "write client_version: v3 to speak 3.1.1")
    return _Protocol(version, clean_start, expiry, aliases)


def _topics(table: Table, protocol: _Protocol) -> tuple[list[Topic], dict[str, int], set[str]]:
    """The entries of `subscribe_topics`, the runnables that they name with their lines, those that are flows."""
    default = table.choice("retained", _RETAINED) or "run"
    entries = table.tables("subscribe_topics")
    if not entries:
        table.error("subscribe_topics", "no topics", "write at least one entry, with topic and qos")
    topics: list[Topic] = []
    filters: list[tuple[TopicFilter, Table]] = []
    runnables: dict[str, int] = {}
    flows: set[str] = set()
    for entry in entries:
        topic, qos = entry.text("topic", required=True), entry.choice("qos", _QOS, required=True)
        runnable, retained = entry.text("runnable"), entry.choice("retained", _RETAINED) or default
        is_flow = entry.flag("is_flow") is True
        entry.close()
        if runnable is not None:
            if runnable in runnables and (runnable in flows) != is_flow:
                _refuse_namesake(entry, "runnable", runnable)
            runnables.setdefault(runnable, entry.line("runnable"))
            if is_flow:
                flows.add(runnable)
        if topic is not None:
            topics.append(Topic(topic, qos or 0, runnable, retained))
            _add_filter(topic, entry, filters)
    if protocol.client_version == "v3":
        _warn_of_overlaps(filters)
    return topics, runnables, flows


def _check_namesake(table: Table, handler: ErrorHandler, flows: set[str]) -> None:
    if handler.is_flow != (handler.path in flows):
        _refuse_namesake(table, "error_handler_path", handler.path)


def _refuse_namesake(table: Table, key: str, path: str) -> None:
    table.error(key, f"{path} is named as a script and as a flow", "give the flow another path than the script")


def _add_filter(topic: str, entry: Table, filters: list[tuple[TopicFilter, Table]]) -> None:
    try:
        topic_filter = parse_filter(topic)
    except TopicError as error:
        entry.error("topic", error.message, error.hint)
        return
    for other, other_entry in filters:
        if other.subscription == topic_filter.subscription:
            hint = "a broker keeps one subscription for each filter: keep one entry"
            entry.error("topic", f"the same filter as on line {other_entry.line('topic')}", hint)
    filters.append((topic_filter, entry))


def _warn_of_overlaps(filters: list[tuple[TopicFilter, Table]]) -> None:
    for index, (first, first_entry) in enumerate(filters):
        for second, entry in filters[index + 1 :]:
            if first.subscription != second.subscription and (example := common_topic(first, second)):
                entry.warn(
                    "topic",
                    f"overlaps {first.text!r} on line {first_entry.line('topic')}: "
                    f"a message on {example!r} may come and run twice",
                    "MQTT 3.1.1 does not tell the copies apart: use client_version v5, or filters that do not overlap",
                )


def _warn_of_loss(table: Table, trigger: Trigger) -> None:
    """Settings that are honoured, and that lose messages which the QoS promises to deliver."""
    qos = max(topic.qos for topic in trigger.topics)
    if qos == 0:
        return
    if trigger.clean_start:
        key, name = ("v3_config", "clean_session") if trigger.client_version == "v3" else ("v5_config", "clean_start")
        table.warn(
            key,
            f"{name} is true: the broker forgets the session at every connect, "
            f"so QoS {qos} messages that come while Headrace is not connected are lost",
            f"write {name}: false, or leave it out",
        )
    if trigger.session_expiry_interval == 0:
        table.warn(
            "v5_config",
            "session_expiry_interval is 0: the broker ends the session with the connection, "
            f"so QoS {qos} messages that come until the next one are lost",
            "leave it out (7 days), or write the seconds that an outage may last",
        )
