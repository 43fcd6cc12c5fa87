"""The workspace folder: definitions as files, in the on-disk format of `wmill sync`.

`read_workspace` reads and checks a folder without asking anybody; `plan` compares it with what is deployed. A kind of
file is one module, which reads its text into a definition; `layout` tells them apart by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from shared.definitions import Broker, Resource, Script
from shared.errors import WorkspaceError
from shared.workspace import layout, resources, scripts, triggers, variables
from shared.workspace.checks import Parts, check_alerts, check_client_ids, check_handler, check_references
from shared.workspace.defaults import Defaults, read_defaults
from shared.workspace.files import Files, read_folder
from shared.workspace.flows import FlowFile, lonely_files, read_flows
from shared.workspace.problems import Problem, Problems, in_order
from shared.workspace.references import Reference, check_circles
from shared.workspace.resources import ResourceFile
from shared.workspace.selection import EVERYTHING, Selection
from shared.workspace.triggers import TriggerFile
from shared.workspace.variables import VariableFile
from shared.workspace.yaml_lines import read_yaml


class Workspace(msgspec.Struct, frozen=True):
    """A folder without errors. `skipped` are the files that mean nothing to us, `texts` those that do.

    Secret variables are plain, here and in `texts`, until `sealing.seal_secrets` has sealed them. `references` are
    those of all files; whether what they name is there, the plan tells. `defaults` are those of `headrace.yaml`.
    """

    triggers: list[TriggerFile]
    scripts: dict[str, Script]
    brokers: dict[str, Broker]
    skipped: list[str]
    warnings: list[Problem]
    flows: dict[str, FlowFile] = {}
    resources: dict[str, Resource] = {}
    variables: list[VariableFile] = []
    texts: dict[str, str] = {}
    references: list[Reference] = []
    selection: Selection = EVERYTHING
    notes: list[Problem] = []
    defaults: Defaults = Defaults()


def read_workspace(folder: Path) -> Workspace:
    """Read and check a folder. Raises WorkspaceError, which tells every problem with file, line and key."""
    problems = Problems()
    return check_files(read_folder(folder, problems), str(folder), problems)


def check_files(files: Files, folder: str, problems: Problems, *, may_be_empty: bool = False) -> Workspace:
    """The workspace that these files describe. Pure. Raises WorkspaceError as `read_workspace`."""
    texts = files.texts
    _check_paths(files, problems)
    found_resources = _resources(texts, problems)
    found_variables = [
        variable
        for file, text in texts.items()
        if file.endswith(layout.VARIABLE)
        and (variable := variables.read_variable(file, text, problems, encrypted=files.selection.encrypted))
    ]
    code = scripts.read_scripts(texts, problems)
    flows = read_flows(texts, code, problems)
    found = [
        trigger
        for file, text in texts.items()
        if file.endswith(layout.TRIGGER) and (trigger := triggers.read_trigger(file, text, problems))
    ]
    for file, text in texts.items():
        if file.endswith((layout.RESOURCE_TYPE, layout.FOLDER)) and layout.owner_of(file) is None:
            read_yaml(file, text, problems)
    lonely = [*lonely_files(texts), *code.lonely]
    skipped = sorted([*files.skipped, *lonely])
    brokers = {path: each.broker for path, each in found_resources.items() if each.broker}
    records = {path: each.resource for path, each in found_resources.items()}
    parts = Parts(code, flows, found_resources, texts, skipped)
    defaults = read_defaults(texts[layout.DEFAULTS], problems) if layout.DEFAULTS in texts else Defaults()
    if defaults.handler is not None:
        check_handler(defaults.handler, parts, problems)
    if defaults.alerts is not None:
        check_alerts(defaults.alerts, parts, problems)
    check_references(found, parts, problems)
    check_client_ids(found, brokers, problems)
    check_circles({path: each.references for path, each in found_resources.items()}, records, problems)
    problems.check(folder)
    if not (may_be_empty or found or code.scripts or flows or records or found_variables):
        raise _nothing(folder)
    entries = [entry for entry in (defaults.handler, *(file.handler for file in found)) if entry is not None]
    references = [each for source in (found_resources, flows) for file in source.values() for each in file.references]
    references += [each for entry in entries for each in entry.references] + defaults.references
    return Workspace(
        found, code.scripts, brokers, skipped, in_order(problems.warnings),
        flows=flows, resources=records, variables=found_variables,
        texts={file: text for file, text in texts.items() if file not in set(lonely)}, references=references,
        selection=files.selection, notes=in_order(problems.notes), defaults=defaults,
    )  # fmt: skip


def _resources(texts: Mapping[str, str], problems: Problems) -> dict[str, ResourceFile]:
    found = (
        resources.read_resource(file, text, problems) for file, text in texts.items() if file.endswith(layout.RESOURCE)
    )
    return {each.resource.path: each for each in found if each is not None}


def _check_paths(files: Files, problems: Problems) -> None:
    """Paths become parts of keys, ids and log lines. Files within a flow's folder are not named by anybody."""
    for file in files.texts:
        name = file.removesuffix(flow[1]) if (flow := layout.flow_of(file)) else file
        if not file.isprintable() or " " in name or "\\" in file:
            problems.error(file, 0, "", "the name holds a space, a backslash or a control character", "rename the file")


def _nothing(folder: str) -> WorkspaceError:
    hint = f"a workspace folder has files like f/demo/hello{layout.TRIGGER} and f/demo/on_hello{layout.PYTHON}"
    return WorkspaceError(f"{folder} holds nothing to deploy", hint=hint)
