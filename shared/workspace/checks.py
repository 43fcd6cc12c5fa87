"""What one file cannot tell: whether the parts of a workspace fit together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from shared.definitions import Broker, Trigger
from shared.workspace.problems import Problems, did_you_mean
from shared.workspace.resources import SUFFIX as RESOURCE
from shared.workspace.scripts import ENTRY_POINT, METADATA, SOURCE, PythonFiles
from shared.workspace.triggers import TriggerFile

_BROKER_KEY = "mqtt_resource_path"


def check_references(
    triggers: Iterable[TriggerFile], python: PythonFiles, brokers: Mapping[str, Broker], texts: Iterable[str],
    skipped: Sequence[str], problems: Problems,
) -> None:  # fmt: skip
    """Every script and resource that a trigger names is in the folder."""
    files = {*texts, *skipped}
    for trigger in triggers:
        for path, line in trigger.runnables.items():
            if path not in python.scripts and path not in python.broken:
                key = "script_path" if path == trigger.trigger.runnable else "runnable"
                problems.error(trigger.file, line, key, *_missing_script(path, python, skipped))
        broker = trigger.trigger.broker
        if broker not in brokers and broker + RESOURCE not in files:
            known = [file.removesuffix(RESOURCE) for file in files if file.endswith(RESOURCE)]
            hint = did_you_mean(broker, known) or f"write {broker}{RESOURCE} with resource_type: mqtt"
            problems.error(trigger.file, trigger.broker_line, _BROKER_KEY, f"there is no {broker}{RESOURCE}", hint)
        elif broker + RESOURCE in skipped:
            hint = "its resource_type has to be mqtt"
            problems.error(trigger.file, trigger.broker_line, _BROKER_KEY, f"the resource {broker} is no broker", hint)


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


def _missing_script(path: str, python: PythonFiles, skipped: Sequence[str]) -> tuple[str, str]:
    """What is wrong, and what would be right."""
    if path in python.modules:
        return f"{path}{SOURCE} has no function {ENTRY_POINT}", f"write def {ENTRY_POINT}(payload: bytes): …"
    other = [file for file in skipped if file.startswith(path + ".") and not file.endswith((METADATA, ".lock"))]
    if other:
        return f"{other[0]} cannot be run yet", "only Python scripts are"
    hint = did_you_mean(path, {*python.scripts, *python.broken}) or "paths start at the workspace folder"
    return f"there is no script {path}{SOURCE}", hint
