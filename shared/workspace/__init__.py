"""The workspace folder: definitions as files, in the on-disk format of `wmill sync`.

`read_workspace` reads and checks a folder without asking anybody; `plan` compares it with what is deployed. A kind of
file is one module: it names its suffix and reads its text into a definition.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from shared.definitions import Broker, Script
from shared.errors import WorkspaceError
from shared.workspace import resources, scripts, triggers
from shared.workspace.checks import check_client_ids, check_references
from shared.workspace.files import Files, read_folder
from shared.workspace.problems import Problem, Problems, in_order
from shared.workspace.triggers import TriggerFile

SUFFIXES = (triggers.SUFFIX, resources.SUFFIX, scripts.SOURCE, scripts.METADATA)


class Workspace(msgspec.Struct, frozen=True):
    """A folder without errors. `skipped` are the files that mean nothing to us."""

    triggers: list[TriggerFile]
    scripts: dict[str, Script]
    brokers: dict[str, Broker]
    skipped: list[str]
    warnings: list[Problem]


def read_workspace(folder: Path) -> Workspace:
    """Read and check a folder. Raises WorkspaceError, which tells every problem with file, line and key."""
    problems = Problems()
    return check_files(read_folder(folder, SUFFIXES, problems), str(folder), problems)


def check_files(files: Files, folder: str, problems: Problems) -> Workspace:
    """The workspace that these files describe. Pure. Raises WorkspaceError as `read_workspace`."""
    _check_paths(files, problems)
    brokers, others = _brokers(files, problems)
    python = scripts.read_scripts(files.texts, problems)
    found = [
        trigger
        for file, text in files.texts.items()
        if file.endswith(triggers.SUFFIX) and (trigger := triggers.read_trigger(file, text, problems))
    ]
    lonely = [file for file in files.texts if file.endswith(scripts.METADATA) and _source(file) not in files.texts]
    skipped = sorted([*files.skipped, *others, *lonely])
    check_references(found, python, brokers, files.texts, skipped, problems)
    check_client_ids(found, brokers, problems)
    problems.check(folder)
    if not (found or python.scripts or brokers):
        raise WorkspaceError(
            f"{folder} holds nothing to deploy",
            hint=f"a workspace folder has files like f/demo/hello{triggers.SUFFIX} and f/demo/on_hello{scripts.SOURCE}",
        )
    return Workspace(found, python.scripts, brokers, skipped, in_order(problems.warnings))


def _brokers(files: Files, problems: Problems) -> tuple[dict[str, Broker], list[str]]:
    """The brokers by path, and the files of resources that are none."""
    brokers: dict[str, Broker] = {}
    others: list[str] = []
    for file, text in files.texts.items():
        if not file.endswith(resources.SUFFIX):
            continue
        if broker := resources.read_broker(file, text, problems):
            brokers[broker.path] = broker
        elif not any(problem.file == file for problem in problems.errors):
            others.append(file)
    return brokers, others


def _source(metadata: str) -> str:
    return metadata.removesuffix(scripts.METADATA) + scripts.SOURCE


def _check_paths(files: Files, problems: Problems) -> None:
    """Paths become parts of keys, ids and log lines."""
    for file in files.texts:
        if not file.isprintable() or " " in file or "\\" in file:
            problems.error(file, 0, "", "the name holds a space, a backslash or a control character", "rename the file")
