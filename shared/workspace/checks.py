"""What one file cannot tell: whether the parts of a workspace fit together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from shared.definitions import Broker, Trigger
from shared.openflow import PREPROCESSOR
from shared.workspace.alerts import AlertsEntry
from shared.workspace.dead_topic import DeadTopicEntry
from shared.workspace.flow_fields import Called
from shared.workspace.flows import FlowFile
from shared.workspace.layout import FLOW_FILE, LANGUAGES, PYTHON, UNSUPPORTED
from shared.workspace.layout import RESOURCE as RESOURCE_SUFFIX
from shared.workspace.problems import Problems, did_you_mean
from shared.workspace.resources import ResourceFile
from shared.workspace.retries import HandlerEntry
from shared.workspace.scripts import ENTRY_POINT, ScriptFiles
from shared.workspace.triggers import TriggerFile

_BROKER_KEY = "mqtt_resource_path"


class Parts(msgspec.Struct, frozen=True):
    """What a folder holds besides triggers; `files` are all that are read, `skipped` those that are not."""

    scripts: ScriptFiles
    flows: Mapping[str, FlowFile]
    resources: Mapping[str, ResourceFile]
    files: Mapping[str, str]
    skipped: Sequence[str]


def check_references(triggers: Iterable[TriggerFile], parts: Parts, problems: Problems) -> None:
    """Every script, flow and resource that a trigger names is in the folder.

    What a flow names may be deployed instead, which is not known here.
    """
    for trigger in triggers:
        for path, line in trigger.runnables.items():
            if path in trigger.flows:
                key = "script_path" if path == trigger.trigger.runnable else "runnable"
                _check_flow(trigger.file, line, key, path, parts, problems)
            elif path not in parts.scripts.scripts and path not in parts.scripts.broken:
                key = "script_path" if path == trigger.trigger.runnable else "runnable"
                problems.error(trigger.file, line, key, *_missing_script(path, parts))
        if trigger.handler is not None:
            check_handler(trigger.handler, parts, problems)
        _check_broker(trigger, parts, problems)
    for flow in parts.flows.values():
        for called in flow.called:
            _check_called(called, parts, problems)


def check_handler(entry: HandlerEntry, parts: Parts, problems: Problems) -> None:
    """The script or flow that a file names as error handler is in the folder."""
    handler = entry.handler
    if handler.is_flow:
        _check_flow(entry.file, entry.line, entry.key, handler.path, parts, problems)
    elif handler.path not in parts.scripts.scripts and handler.path not in parts.scripts.broken:
        problems.error(entry.file, entry.line, entry.key, *_missing_script(handler.path, parts))


def check_alerts(entry: AlertsEntry, parts: Parts, problems: Problems) -> None:
    """The script that is called for alerts is in the folder."""
    path = entry.alerts.runnable
    if path is not None and path not in parts.scripts.scripts and path not in parts.scripts.broken:
        problems.error(entry.file, entry.line, "alerts.runnable", *_missing_script(path, parts))


def _check_flow(file: str, line: int, key: str, path: str, parts: Parts, problems: Problems) -> None:
    names = [f"{path}.flow/{FLOW_FILE}", f"{path}__flow/{FLOW_FILE}"]
    if not any(name in parts.files for name in names):
        if path in parts.scripts.scripts:
            hint = f"{path} is a script"
        else:
            hint = did_you_mean(path, parts.flows) or f"write {names[0]}"
        problems.error(file, line, key, f"there is no flow {path}", hint)


def _check_called(called: Called, parts: Parts, problems: Problems) -> None:
    """What a step names, if the folder tells that it cannot be right."""
    place = called.file, called.line, called.key
    path, scripts = called.path, parts.scripts
    if called.is_flow:
        if path not in parts.flows and path in scripts.scripts:
            problems.error(*place, f"there is no flow {path}", f"{path} is a script: write type: script")
    elif called.step == PREPROCESSOR and path in scripts.scripts:
        hint = "write one, with the argument event; what it returns are the arguments of the flow"
        problems.error(*place, f"{path} has no function {PREPROCESSOR}", hint)
    elif path not in scripts.scripts and path not in scripts.broken:
        if path in parts.flows:
            problems.error(*place, f"there is no script {path}", f"{path} is a flow: write type: flow")
        elif path in scripts.modules or _in_another_language(path, parts):
            problems.error(*place, *_missing_script(path, parts))


def _check_broker(trigger: TriggerFile, parts: Parts, problems: Problems) -> None:
    _check_named_broker(trigger.trigger.broker, (trigger.file, trigger.broker_line, _BROKER_KEY), parts, problems)


def check_dead_topic(entry: DeadTopicEntry, parts: Parts, problems: Problems) -> None:
    """The broker where dead letters are told of is in the folder."""
    place = entry.file, entry.broker_line, f"dead_letters.{_BROKER_KEY}"
    _check_named_broker(entry.topic.broker, place, parts, problems)


def _check_named_broker(broker: str, place: tuple[str, int, str], parts: Parts, problems: Problems) -> None:
    resource = parts.resources.get(broker)
    if resource is not None and resource.broker is None:
        problems.error(*place, f"the resource {broker} is no broker", "its resource_type has to be mqtt")
    elif broker + RESOURCE_SUFFIX not in parts.files:
        known = [file.removesuffix(RESOURCE_SUFFIX) for file in parts.files if file.endswith(RESOURCE_SUFFIX)]
        hint = did_you_mean(broker, known) or f"write {broker}{RESOURCE_SUFFIX} with resource_type: mqtt"
        problems.error(*place, f"there is no {broker}{RESOURCE_SUFFIX}", hint)


def check_client_ids(triggers: Sequence[TriggerFile], brokers: Mapping[str, Broker], problems: Problems) -> None:
    """No two triggers give the same client id to one broker: it would end either session for the other, for ever."""
    for first, second in client_id_clashes([file.trigger for file in triggers], brokers):
        file = next(file for file in triggers if file.trigger is second)
        problems.error(
            file.file,
            file.client_id_line,
            "client_id",
            f"trigger {first.path} has the client id {second.client_id!r} too, on the same broker",
            "two sessions with one client id end each other: choose another, or leave it out",
        )


def client_id_clashes(triggers: Iterable[Trigger], brokers: Mapping[str, Broker]) -> Iterator[tuple[Trigger, Trigger]]:
    """Pairs of triggers with the same broker and the same client id; one without a client id clashes with none."""
    holders: dict[tuple[str, int | str, str], Trigger] = {}
    for trigger in triggers:
        if not trigger.client_id:
            continue
        broker = brokers.get(trigger.broker)
        place = ("", trigger.broker) if broker is None else (broker.host.lower(), broker.port)
        holder = holders.setdefault((*place, trigger.client_id), trigger)
        if holder is not trigger:
            yield holder, trigger


def _missing_script(path: str, parts: Parts) -> tuple[str, str]:
    """What is wrong, and what would be right."""
    if path in parts.scripts.modules:
        extension = next(extension for extension in LANGUAGES if path + extension in parts.files)
        write = f"def {ENTRY_POINT}(payload: bytes): …" if extension == PYTHON else f"export function {ENTRY_POINT}(…)"
        return f"{path}{extension} has no function {ENTRY_POINT}", f"write {write}"
    if other := _in_another_language(path, parts):
        return f"{other} cannot be run: its language is not supported", f"supported are {', '.join(LANGUAGES)}"
    known = {*parts.scripts.scripts, *parts.scripts.broken}
    hint = did_you_mean(path, known) or "paths start at the workspace folder"
    return f"there is no script {path}{PYTHON}", hint


def _in_another_language(path: str, parts: Parts) -> str:
    """A file that is a script of Windmill's, and none of ours; '' if there is none."""
    others = (file for file in parts.skipped if file.startswith(path + ".") and file.endswith(UNSUPPORTED))
    return next(others, "")
