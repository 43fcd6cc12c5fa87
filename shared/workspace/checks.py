"""What one file cannot tell: whether the parts of a workspace fit together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from shared.definitions import Broker, Trigger
from shared.workspace.alerts import AlertsEntry
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
    files: Iterable[str]
    skipped: Sequence[str]


def check_references(triggers: Iterable[TriggerFile], parts: Parts, problems: Problems) -> None:
    """Every script, flow and resource that a trigger names is in the folder; a warning where a flow's script is not."""
    files = set(parts.files)
    for trigger in triggers:
        for path, line in trigger.runnables.items():
            if trigger.is_flow and path == trigger.trigger.runnable:
                _check_flow(trigger, path, files, problems)
            elif path not in parts.scripts.scripts and path not in parts.scripts.broken:
                key = "script_path" if path == trigger.trigger.runnable else "runnable"
                problems.error(trigger.file, line, key, *_missing_script(path, parts))
        if trigger.handler is not None:
            check_handler(trigger.handler, parts, problems)
        _check_broker(trigger, parts, files, problems)
    for flow in parts.flows.values():
        for path, line in flow.scripts.items():
            if path not in parts.scripts.scripts and path not in parts.scripts.broken:
                problems.warn(flow.file, line, "path", *_missing_script(path, parts))


def check_handler(entry: HandlerEntry, parts: Parts, problems: Problems) -> None:
    """The script that a file names as error handler is in the folder."""
    handler = entry.handler
    if handler.is_flow:
        hint = "name a script; the flow itself is deployed and kept"
        problems.error(
            entry.file, entry.line, entry.key, f"flows are not executed yet, and {handler.path} is one", hint
        )
    elif handler.path not in parts.scripts.scripts and handler.path not in parts.scripts.broken:
        problems.error(entry.file, entry.line, entry.key, *_missing_script(handler.path, parts))


def check_alerts(entry: AlertsEntry, parts: Parts, problems: Problems) -> None:
    """The script that is called for alerts is in the folder."""
    path = entry.alerts.runnable
    if path is not None and path not in parts.scripts.scripts and path not in parts.scripts.broken:
        problems.error(entry.file, entry.line, "alerts.runnable", *_missing_script(path, parts))


def _check_flow(trigger: TriggerFile, path: str, files: set[str], problems: Problems) -> None:
    line = trigger.runnables[path]
    names = [f"{path}.flow/{FLOW_FILE}", f"{path}__flow/{FLOW_FILE}"]
    if any(name in files for name in names):
        hint = "name a script, and write is_flow: false; the flow itself is deployed and kept"
        problems.error(trigger.file, line, "is_flow", f"flows are not executed yet, and {path} is one", hint)
    else:
        problems.error(trigger.file, line, "script_path", f"there is no flow {path}", f"write {names[0]}")


def _check_broker(trigger: TriggerFile, parts: Parts, files: set[str], problems: Problems) -> None:
    broker = trigger.trigger.broker
    resource = parts.resources.get(broker)
    if resource is not None and resource.broker is None:
        hint = "its resource_type has to be mqtt"
        problems.error(trigger.file, trigger.broker_line, _BROKER_KEY, f"the resource {broker} is no broker", hint)
    elif broker + RESOURCE_SUFFIX not in files:
        known = [file.removesuffix(RESOURCE_SUFFIX) for file in files if file.endswith(RESOURCE_SUFFIX)]
        hint = did_you_mean(broker, known) or f"write {broker}{RESOURCE_SUFFIX} with resource_type: mqtt"
        message = f"there is no {broker}{RESOURCE_SUFFIX}"
        problems.error(trigger.file, trigger.broker_line, _BROKER_KEY, message, hint)


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
    other = [file for file in parts.skipped if file.startswith(path + ".") and file.endswith(UNSUPPORTED)]
    if other:
        return f"{other[0]} cannot be run: its language is not supported", f"supported are {', '.join(LANGUAGES)}"
    known = {*parts.scripts.scripts, *parts.scripts.broken}
    hint = did_you_mean(path, known) or "paths start at the workspace folder"
    return f"there is no script {path}{PYTHON}", hint
