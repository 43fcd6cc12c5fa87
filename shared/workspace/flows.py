"""Flows: the folders `<path>.flow/` and `<path>__flow/`, with `flow.yaml` and the files that its `!inline` name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from shared.definitions import Flow, Script
from shared.openflow import PREPROCESSOR
from shared.workspace.flow_code import FlowCode
from shared.workspace.flow_expressions import check_expressions, references_of
from shared.workspace.flow_fields import Called
from shared.workspace.flow_steps import Steps
from shared.workspace.layout import FLOW_FILE, flow_of
from shared.workspace.problems import Problems
from shared.workspace.references import Reference, references_in
from shared.workspace.scripts import MAX_TIMEOUT_S, ScriptFiles
from shared.workspace.yaml_lines import Table, read_yaml

_NO_MEANING = (
    "summary", "description", "tag", "labels", "visible_to_runner_only", "on_behalf_of_email", "has_on_behalf_of",
    "extra_perms",
)  # fmt: skip
_LEFT_OUT = ("priority", "dedicated_worker")


def code_key(flow: str, step: str) -> str:
    """The name of a step's own code, among scripts by path: no path has a colon."""
    return f"{flow}:{step}"


def flow_of_key(key: str) -> str:
    """The flow of a `code_key`."""
    return key.partition(":")[0]


class FlowFile(msgspec.Struct, frozen=True):
    """A flow as its folder describes it, without the versions of what it runs.

    `code` are the scripts that it holds itself, by the id of their step; `called` those of the workspace, and flows.
    """

    file: str
    flow: Flow
    code: dict[str, Script]
    called: list[Called]
    references: list[Reference]


def read_flows(texts: Mapping[str, str], scripts: ScriptFiles, problems: Problems) -> dict[str, FlowFile]:
    """The flows by path."""
    flows: dict[str, FlowFile] = {}
    for folder, files in _folders(texts).items():
        main = folder + FLOW_FILE
        if main in files and (flow := _read_flow(folder, texts, scripts, problems)):
            if other := flows.get(flow.flow.path):
                problems.error(main, 0, "", f"{other.file} is the flow {flow.flow.path} too", "rename one of them")
            flows[flow.flow.path] = flow
    return flows


def lonely_files(texts: Mapping[str, str]) -> list[str]:
    """The files of flow folders that hold no `flow.yaml`."""
    folders = _folders(texts)
    return [file for folder, files in folders.items() if folder + FLOW_FILE not in files for file in files]


def _folders(texts: Mapping[str, str]) -> dict[str, list[str]]:
    folders: dict[str, list[str]] = {}
    for file in texts:
        if found := flow_of(file):
            folders.setdefault(file.removesuffix(found[1]), []).append(file)
    return folders


def _read_flow(folder: str, texts: Mapping[str, str], scripts: ScriptFiles, problems: Problems) -> FlowFile | None:
    file = folder + FLOW_FILE
    path = folder.removesuffix("/").removesuffix(".flow").removesuffix("__flow")
    if (table := read_yaml(file, texts[file], problems)) is None:
        return None
    timeout_s = table.integer("timeout", 1, MAX_TIMEOUT_S)
    muted = table.flag("ws_error_handler_muted") is True
    parameters = _parameters(table)
    value_table = table.table("value", required=True)
    table.allow(*_NO_MEANING)
    table.refuse(*_LEFT_OUT, message="is not supported", hint="leave it out")
    table.close()
    if value_table is None:
        return None
    steps = Steps()
    value = steps.read(value_table)
    check_expressions(value, steps.found, problems, complete=steps.complete)
    maker = FlowCode(folder, path, texts, scripts.python, problems)
    code = {each.step: script for each in steps.found.code if (script := maker.script(each))}
    called = list(steps.found.called)
    for each in steps.found.called:
        if each.step == PREPROCESSOR and each.path in scripts.preprocessors:
            code[PREPROCESSOR] = scripts.preprocessors[each.path]
            called.remove(each)
    flow = Flow(path, value, timeout_s, parameters=parameters, ws_error_handler_muted=muted)
    references = [*references_in(file, table.texts("value")), *references_of(steps.found)]
    return FlowFile(file, flow, code, called, references)


def _parameters(table: Table) -> list[str]:
    """The properties of its schema."""
    schema: Any = table.data("schema")
    properties = schema.get("properties") if isinstance(schema, dict) else None
    return list(properties) if isinstance(properties, dict) else []
