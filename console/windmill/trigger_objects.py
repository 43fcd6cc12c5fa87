"""MQTT triggers in Windmill's words: bodies that become files, and files that become rows. Pure.

A row goes without the keys whose null makes Windmill's own client fail.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from console.errors import bad_request
from console.windmill.bodies import checked, given, without, without_nulls
from shared.definitions import Mode, Topic, Trigger
from shared.run_record import iso_ms
from shared.stamps import Stamp
from shared.status import SessionStatus

_NOT_IN_FILES = (
    "path", "workspace_id", "edited_by", "edited_at", "permissioned_as", "preserve_permissioned_as", "extra_perms",
    "server_id", "last_server_ping", "error", "is_draft", "draft", "draft_only", "draft_base", "draft_saved_at",
    "no_deployed", "email", "has_permissioned_as", "skip_draft_deletion",
)  # fmt: skip
"""What a server knows of a trigger, or what has no meaning here."""
_WINDMILLS = (
    "script_path", "is_flow", "mode", "enabled", "mqtt_resource_path", "subscribe_topics", "client_id",
    "client_version", "v3_config", "v5_config", "error_handler_path", "error_handler_args", "retry", "labels",
    "summary", "description",
)  # fmt: skip
_OF_TOPICS = ("topic", "qos")
_MODES = ("mode", "enabled")


class TopicBody(msgspec.Struct, frozen=True):
    """An entry of subscribe_topics."""

    topic: str
    qos: Literal["qos0", "qos1", "qos2"]


class TriggerBody(msgspec.Struct, frozen=True):
    """What create and update ask for; other keys are those of the trigger's file."""

    path: str
    script_path: str
    is_flow: bool
    mqtt_resource_path: str
    subscribe_topics: list[TopicBody]
    client_id: str | None = None
    client_version: Literal["v3", "v5"] | None = None
    v3_config: dict[str, Any] | None = None
    v5_config: dict[str, Any] | None = None
    mode: Mode | None = None
    enabled: bool | None = None
    labels: list[str] | None = None


def read_body(body: Mapping[str, Any]) -> TriggerBody:
    """The body, if it is one. Raises Refusal (422, 400), in Windmill's words."""
    trigger = checked(body, TriggerBody)
    if not trigger.mqtt_resource_path.strip():
        raise bad_request("MQTT resource path cannot be empty")
    if not trigger.subscribe_topics:
        raise bad_request("At least one subscribe topic must be specified")
    return trigger


def file_document(body: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What is to stand in the trigger's file.

    Of one that was there `before`, the mode stays unless the body has one, and so do keys that are not Windmill's: its
    clients do not know them. Null takes such a key away.
    """
    wanted = without(body, _NOT_IN_FILES)
    if wanted.get("mode") is not None:
        wanted.pop("enabled", None)
    elif wanted.get("enabled") is not None:
        wanted.pop("mode", None)
    else:
        wanted = without(wanted, _MODES)
        if before is not None:
            wanted |= {key: before[key] for key in _MODES if key in before}
    if before is None:
        return wanted
    kept = {key: value for key, value in without(before, _WINDMILLS).items() if key not in wanted}
    wanted["subscribe_topics"] = _topics(wanted["subscribe_topics"], before.get("subscribe_topics"))
    removed = [key for key in without(wanted, _WINDMILLS) if wanted[key] is None]
    return without(wanted | kept, removed)


def row(
    trigger: Trigger, file: Mapping[str, Any], session: SessionStatus, changed: Stamp, workspace: str, now_ms: int
) -> dict[str, Any]:
    """A trigger as a row of list; `file` is what stands in its file, nothing where it was deployed without one."""
    found = {key: value for key, value in file.items() if key not in _NOT_IN_FILES and key not in _MODES}
    held = session.holder is not None
    known: dict[str, Any] = {
        "workspace_id": workspace,
        "path": trigger.path,
        "script_path": trigger.runnable,
        "is_flow": any(each.is_flow for path, each in trigger.runnables.items() if path == trigger.runnable),
        "mode": trigger.mode,
        "mqtt_resource_path": trigger.broker,
        "edited_by": changed.author,
        "edited_at": iso_ms(changed.at),
        "permissioned_as": f"u/{changed.author}",
        "extra_perms": {},
        "client_id": trigger.client_id,
        "client_version": trigger.client_version,
        "v3_config": None,
        "v5_config": None,
        "server_id": session.holder,
        "error": _error(session),
        "error_handler_path": None,
        "labels": None,
        "is_draft": False,
    }
    row = known | found
    row["subscribe_topics"] = found.get("subscribe_topics") or [_topic(each) for each in trigger.topics]
    crashing = given(
        retry=without_nulls(found.get("retry")),
        error_handler_args=found.get("error_handler_args"),
        last_server_ping=iso_ms(now_ms) if held else None,
    )
    return without(row, ("retry", "error_handler_args", "last_server_ping")) | crashing


def _error(session: SessionStatus) -> str | None:
    """As Windmill has it: null while it is connected, or nobody has begun; else what keeps it from being so."""
    if session.holder is None or session.state == "connected":
        return None
    return session.reason or ("Connecting..." if session.state == "connecting" else session.state)


def _topic(topic: Topic) -> dict[str, Any]:
    return {"topic": topic.topic, "qos": f"qos{topic.qos}"}


def _topics(wanted: list[dict[str, Any]], before: Any) -> list[dict[str, Any]]:
    """The entries, each with those keys of ours that the entry of the same topic had."""
    known = {entry["topic"]: entry for entry in before or () if isinstance(entry, dict) and "topic" in entry}
    return [without(known.get(entry["topic"], {}), (*_OF_TOPICS, *entry)) | entry for entry in wanted]
