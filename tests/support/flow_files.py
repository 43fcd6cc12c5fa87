"""Flows for tests, read as a push reads them."""

from __future__ import annotations

from textwrap import dedent

from shared.openflow import FlowValue
from shared.workspace import Workspace, check_files
from shared.workspace.files import Files
from shared.workspace.flows import FlowFile
from shared.workspace.problems import Problems

PATH = "f/t/flow"
FILE = f"{PATH}.flow/flow.yaml"


def workspace_of(texts: dict[str, str]) -> Workspace:
    """The workspace of these files. Raises WorkspaceError."""
    return check_files(Files({path: dedent(text) for path, text in texts.items()}, []), "the folder", Problems())


def flow_file(text: str, **texts: str) -> FlowFile:
    """The flow of this `flow.yaml`, with other files of its folder by name (`check_py` is check.py)."""
    beside = {f"{PATH}.flow/{name.replace('_', '.')}": code for name, code in texts.items()}
    return workspace_of({FILE: text, **beside}).flows[PATH]


def flow_value(text: str) -> FlowValue:
    """The steps of a flow from what stands under `value`, in YAML or JSON."""
    indented = "\n".join(f"  {line}" for line in dedent(text).splitlines())
    return flow_file(f"value:\n{indented}\n").flow.value
