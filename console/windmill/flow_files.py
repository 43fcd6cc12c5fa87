"""Flows in Windmill's words: folders of files, and values with the code of their steps in place. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from console.edits import document
from shared.workspace.layout import FLOW_FILE, flow_of
from shared.workspace.yaml_values import INLINE

FOLDERS: Final = (".flow/", "__flow/")


def folder_of(texts: Mapping[str, str], path: str) -> str | None:
    """The folder of a flow, with its slash; None where there is none."""
    return next((path + each for each in FOLDERS if f"{path}{each}{FLOW_FILE}" in texts), None)


def paths_of(texts: Mapping[str, str]) -> Iterator[str]:
    """The paths of all flows."""
    yield from sorted({flow[0] for file in texts if (flow := flow_of(file)) and flow[1] == FLOW_FILE})


def read_flow(texts: Mapping[str, str], path: str) -> dict[str, Any]:
    """What stands in the flow's file, with each `!inline` replaced by the text of the file that it names."""
    folder = folder_of(texts, path)
    if folder is None:
        return {}
    found: dict[str, Any] = _inlined(document(texts, folder + FLOW_FILE), folder, texts)
    return found


def _inlined(value: Any, folder: str, texts: Mapping[str, str]) -> Any:
    match value:
        case dict():
            return {key: _inlined(each, folder, texts) for key, each in value.items()}
        case list():
            return [_inlined(each, folder, texts) for each in value]
        case str() if value.startswith(INLINE):
            name = value.removeprefix(INLINE).strip().removeprefix("./")
            return next((texts[file] for file in (folder + name, name) if file in texts), value)
        case _:
            return value
