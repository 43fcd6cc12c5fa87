"""Pulling: the files of what is deployed, written into a folder so that they push back as unchanged."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from typing import Literal

import msgspec

from shared.definitions import File, Variable
from shared.deploy import read_now
from shared.deployment import read_all
from shared.errors import WorkspaceError
from shared.secrets import SecretBox
from shared.store import Store
from shared.workspace.files import Files, read_folder
from shared.workspace.flows import lonely_files
from shared.workspace.layout import SETTINGS, VARIABLE, is_workspace_file
from shared.workspace.problems import Problems
from shared.workspace.scripts import read_scripts
from shared.workspace.sealing import with_value, without_value
from shared.workspace.variables import read_variable

_OTHERS = 0o077
_OWNER_ONLY = 0o600
_LONGEST_NAME = 200


class Pulled(msgspec.Struct, frozen=True):
    """What deployment `number` gives a folder: text by path. `plain` are the files that hold a secret."""

    number: int
    texts: dict[str, str]
    plain: frozenset[str]


class FileChange(msgspec.Struct, frozen=True):
    """What a pull does to one file of the folder."""

    action: Literal["created", "changed", "deleted"]
    path: str


class PullPlan(msgspec.Struct, frozen=True):
    """A pull before it is done. `kept` are in the folder and not deployed, `left_out` the other way by `wmill.yaml`."""

    changes: list[FileChange]
    unchanged: list[str]
    kept: list[str]
    left_out: list[str]

    @property
    def overwritten(self) -> list[FileChange]:
        """The changes that something in the folder is lost by."""
        return [change for change in self.changes if change.action != "created"]


def read_deployment(store: Store, box: SecretBox | None) -> Pulled:
    """What is deployed now; with a box, secrets are opened and in the texts. Raises SecretError, StoreUnavailable."""
    deployed = read_now(store)
    texts = {path: file.text for path, file in read_all(store, deployed.of_kind("file"), File).items()}
    plain = set()
    variables = {} if box is None else read_all(store, deployed.of_kind("variable"), Variable)
    for path, variable in variables.items():
        file = path + VARIABLE
        if box is not None and variable.is_secret and file in texts:
            opened = msgspec.structs.replace(variable, value=box.open(path, variable.value))
            texts[file] = with_value(texts[file], opened)
            plain.add(file)
    return Pulled(deployed.number, texts, frozenset(plain))


def plan_pull(deployment: Pulled, root: Path, *, prune: bool) -> PullPlan:
    """Compare with a folder, which need not be there. Only `prune` deletes, and nothing that is no workspace file.

    Raises WorkspaceError for a path that would leave the folder or is no file of a workspace, and where the folder or
    its `wmill.yaml` cannot be read.
    """
    here = _read_local(root)
    plan = PullPlan([], [], [], [])
    for path, text in sorted(deployment.texts.items()):
        _check_place(root, path)
        if not here.selection.covers(path):
            plan.left_out.append(path)
        elif not os.path.lexists(root / path):
            plan.changes.append(FileChange("created", path))
        elif _is_same(here.texts.get(path), path, text, deployment) and not _is_open(root / path, path, deployment):
            plan.unchanged.append(path)
        else:
            plan.changes.append(FileChange("changed", path))
    more = sorted(here.texts.keys() - deployment.texts.keys())
    if prune:
        plan.changes.extend(FileChange("deleted", path) for path in more)
    else:
        plan.kept.extend(more)
    return plan


def carry_out(plan: PullPlan, deployment: Pulled, root: Path) -> None:
    """Write and delete; each file is written completely or not at all. Raises WorkspaceError where that fails."""
    for change in plan.changes:
        target = root / change.path
        try:
            if change.action == "deleted":
                target.unlink(missing_ok=True)
            else:
                _check_place(root, change.path)
                _write(target, deployment.texts[change.path], secret=change.path in deployment.plain)
        except OSError as error:
            message = f"{target} cannot be {'deleted' if change.action == 'deleted' else 'written'}: {error.strerror}"
            raise WorkspaceError(message, hint="files before it are done; pull again", file=change.path) from error


def _read_local(root: Path) -> Files:
    """The files that a push would deploy, and what `wmill.yaml` says."""
    if not root.exists():
        return Files({}, [])
    problems, settings = Problems(), Problems()
    files = read_folder(root, problems)
    settings.errors += [problem for problem in problems.errors if problem.file == SETTINGS]
    settings.check(str(root))
    lonely = [*read_scripts(files.texts, Problems()).lonely, *lonely_files(files.texts)]
    texts = {path: text for path, text in files.texts.items() if path not in set(lonely)}
    return msgspec.structs.replace(files, texts=texts)


def _check_place(root: Path, path: str) -> None:
    if not is_workspace_file(path):
        hint = "whoever can write to this Redis can put such a file there: find out who has"
        raise WorkspaceError(f"{path!r} is deployed and is no path in a workspace: nothing was written", hint=hint)
    inside = root.resolve()
    if not (root / path).parent.resolve().is_relative_to(inside):
        hint = "remove the symbolic link, or pull into another folder"
        raise WorkspaceError(f"{path} would be written outside of {inside}", hint=hint, file=path)


def _is_same(local: str | None, path: str, text: str, deployment: Pulled) -> bool:
    """A secret in the folder is no difference, unless secrets are asked for."""
    if local is None or local == text:
        return local is not None
    if not path.endswith(VARIABLE) or path in deployment.plain:
        return False
    variable = read_variable(path, local, Problems())
    return bool(variable and variable.given and variable.variable.is_secret and without_value(local, variable) == text)


def _is_open(place: Path, path: str, deployment: Pulled) -> bool:
    """A secret is there that others may read."""
    return path in deployment.plain and bool(place.stat().st_mode & _OTHERS)


def _write(target: Path, text: str, *, secret: bool) -> None:
    """Beside its place first; a rename puts it there. It keeps the mode of the file that was there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name[:_LONGEST_NAME]}.{secrets.token_hex(8)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _OWNER_ONLY if secret else 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if not secret and target.is_file():
                os.fchmod(descriptor, stat.S_IMODE(target.stat().st_mode))
            file.write(text.encode())
            file.flush()
            os.fsync(descriptor)
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
