"""The files that the editor's form makes, beside the trigger's: a script to start from, a broker. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from litestar.datastructures import FormMultiDict

from console.edits import broker_of
from console.pages.forms import text
from console.pages.trigger_form import TriggerForm, read_form, text_of
from shared.definitions import Broker
from shared.errors import UserError
from shared.workspace.layout import RESOURCE
from shared.workspace.problems import Problem
from shared.workspace.render import yaml_text
from shared.workspace.yaml_lines import read_document

STARTER: Final = '''"""Runs for each message."""

import json

import headrace


def main(payload: bytes):
    reading = json.loads(payload)
    print(f"{headrace.run.topic}: {reading}")
    return reading
'''
"""The script that the editor makes for somebody who has none yet."""
LABELS: Final[Mapping[str, str]] = {
    "path": "Path",
    "script_path": "Script or flow",
    "mqtt_resource_path": "Broker",
    "subscribe_topics": "Topics",
    "topic": "Topic filter",
    "v5_config": "Connection",
    "v3_config": "Connection",
    "filters": "Filters",
    "idempotency_key": "Idempotency key",
    "retry": "When the code fails",
    "error_handler_path": "Error handler",
    "error_handler_args": "Arguments of the error handler",
    "reply": "Replies",
    "max_age_s": "Too old after",
    "retention": "Ended runs that are kept",
    "client_id": "Client id",
    "timeout": "Time-out of runs",
    "max_payload": "Largest payload",
    "receive_maximum": "Receive maximum",
    "keep_alive": "Keep alive",
}
"""Keys of a trigger's file as the form calls them."""


class Choices(msgspec.Struct, frozen=True):
    """Paths that can be chosen. `text` is the trigger's file as it is deployed, '' for none."""

    scripts: list[str]
    flows: list[str]
    brokers: list[str]
    text: str
    dead: int


def wanted_of(form: FormMultiDict, choices: Choices) -> TriggerForm:
    """What the form says; a script that is to be made and has no path gets the trigger's. Pure."""
    wanted = read_form(form, choices.flows)
    if text(form, "make_script") and not wanted.script_path:
        return msgspec.structs.replace(wanted, script_path=wanted.path)
    return wanted


def edits_of(form: FormMultiDict, wanted: TriggerForm, choices: Choices) -> dict[str, str | None]:
    """The files that the form makes. Pure."""
    given = text(form, "text")
    content = given.replace("\r\n", "\n") + "\n" if given else text_of(wanted, read_document("", choices.text))
    edits: dict[str, str | None] = {wanted.file: content}
    if text(form, "make_script") and wanted.script_path not in {*choices.scripts, *choices.flows}:
        edits[wanted.script_path + ".py"] = STARTER
    if text(form, "broker_host") and wanted.mqtt_resource_path not in choices.brokers:
        edits[wanted.mqtt_resource_path + RESOURCE] = yaml_text({"resource_type": "mqtt", "value": broker_value(form)})
    return edits


def broker_value(form: FormMultiDict) -> dict[str, Any]:
    """The value of the resource of a broker that the form describes. Pure."""
    port = text(form, "broker_port")
    value: dict[str, Any] = {"broker": text(form, "broker_host"), "port": int(port) if port.isdecimal() else port}
    names = {"username": text(form, "broker_username"), "password": text(form, "broker_password")}
    if credentials := {name: given for name, given in names.items() if given}:
        value["credentials"] = credentials
    if text(form, "broker_tls"):
        value["tls"] = {"enabled": True}
    return value


def typed_broker(form: FormMultiDict) -> Broker | None:
    """The broker that the form describes, None where it describes none. Raises UserError. Pure."""
    path = text(form, "mqtt_resource_path")
    if text(form, "broker_host"):
        return broker_of(path, broker_value(form))
    if not path:
        raise UserError("there is no broker: choose one, or say under “No broker yet?” where it is")
    return None


def problem_text(problem: Problem, file: str, *, as_file: bool) -> str:
    """In the words of the form, where the mistake is in what it makes. Pure."""
    if problem.file != file or as_file:
        place = f" ({problem.file}{f' line {problem.line}' if problem.line else ''})"
        return f"{problem.key}: {problem.message}{place}" if problem.key else problem.message + place
    head = re.split(r"[.\[]", problem.key)[0]
    name = LABELS.get(head, problem.key)
    return f"{name}: {problem.message}" if name else problem.message
