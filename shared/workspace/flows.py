"""Flows: the folders `<path>.flow/` and `<path>__flow/`, with `flow.yaml` and the files that its `!inline` name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from shared.definitions import Flow
from shared.workspace.layout import FLOW_FILE, flow_of
from shared.workspace.problems import Problems
from shared.workspace.references import Reference, references_in
from shared.workspace.scripts import MAX_TIMEOUT_S
from shared.workspace.yaml_lines import Table, read_yaml
from shared.workspace.yaml_values import INLINE

_NOTHING_TO_DO = (
    "summary", "description", "schema", "tag", "labels", "visible_to_runner_only", "ws_error_handler_muted",
    "on_behalf_of_email", "priority", "dedicated_worker", "has_on_behalf_of", "extra_perms",
)  # fmt: skip
_HUB = "hub/"


class FlowFile(msgspec.Struct, frozen=True):
    """A flow as its folder describes it; `scripts` are the paths that it names, with the lines."""

    file: str
    flow: Flow
    scripts: dict[str, int]
    references: list[Reference]


def read_flows(texts: Mapping[str, str], problems: Problems) -> tuple[dict[str, FlowFile], list[str]]:
    """The flows by path, and the files of folders that hold no `flow.yaml`."""
    flows: dict[str, FlowFile] = {}
    folders: dict[str, list[str]] = {}
    for file in texts:
        if found := flow_of(file):
            folders.setdefault(file.removesuffix(found[1]), []).append(file)
    lonely: list[str] = []
    for folder, files in folders.items():
        main = folder + FLOW_FILE
        if main not in texts:
            lonely += files
        elif flow := _read_flow(folder, texts, problems):
            if other := flows.get(flow.flow.path):
                problems.error(main, 0, "", f"{other.file} is the flow {flow.flow.path} too", "rename one of them")
            flows[flow.flow.path] = flow
    return flows, lonely


def _read_flow(folder: str, texts: Mapping[str, str], problems: Problems) -> FlowFile | None:
    file = folder + FLOW_FILE
    if (table := read_yaml(file, texts[file], problems)) is None:
        return None
    value = table.data("value")
    timeout_s = table.integer("timeout", 1, MAX_TIMEOUT_S)
    table.allow(*_NOTHING_TO_DO)
    table.close()
    if not isinstance(value, dict) or not isinstance(value.get("modules"), list):
        table.error("value", "no flow: it has no list of modules", "write value: with modules: under it")
        return None
    for found in table.texts("value"):
        if found.text.startswith(INLINE) and _inline_file(folder, found.text, texts) is None:
            name = found.text.removeprefix(INLINE).strip()
            problems.error(
                file, found.line, found.key, f"there is no {folder}{name}", "write the file, or name another"
            )
    scripts = {text: line for line, text in _named_scripts(table) if not text.startswith(_HUB)}
    path = folder.removesuffix("/").removesuffix(".flow").removesuffix("__flow")
    flow = Flow(path, _inlined(value, folder, texts), timeout_s)
    return FlowFile(file, flow, scripts, list(references_in(file, table.texts("value"))))


def _inlined(value: Any, folder: str, texts: Mapping[str, str]) -> Any:
    match value:
        case dict():
            return {key: _inlined(each, folder, texts) for key, each in value.items()}
        case list():
            return [_inlined(each, folder, texts) for each in value]
        case str() if value.startswith(INLINE) and (file := _inline_file(folder, value, texts)):
            return texts[file]
        case _:
            return value


def _inline_file(folder: str, text: str, texts: Mapping[str, str]) -> str | None:
    """Named from the flow's folder on, or from the workspace's."""
    name = text.removeprefix(INLINE).strip().removeprefix("./")
    return next((file for file in (folder + name, name) if file in texts), None)


def _named_scripts(table: Table) -> Iterator[tuple[int, str]]:
    """(line, path) of each step of type `script`: its keys stand beside each other."""
    steps: dict[str, dict[str, tuple[int, str]]] = {}
    for found in table.texts("value"):
        parent = found.key.removesuffix(f".{found.name}")
        steps.setdefault(parent, {})[found.name] = (found.line, found.text)
    for step in steps.values():
        if step.get("type", (0, ""))[1] == "script" and "path" in step:
            yield step["path"]
