"""Folders that hold what no workspace should: the push says so, and does not hang, swell or fall over."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from shared.errors import WorkspaceError
from shared.workspace import read_workspace
from shared.workspace.files import MAX_FILE_BYTES
from shared.workspace.problems import Problem


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A workspace that is in order."""
    (tmp_path / "f/a").mkdir(parents=True)
    (tmp_path / "f/a/s.py").write_text("def main(payload): ...\n")
    return tmp_path


def problem(folder: Path) -> Problem:
    """The only thing that is wrong."""
    with pytest.raises(WorkspaceError) as caught:
        read_workspace(folder)
    problems: Any = caught.value.fields["problems"]
    (found,) = problems
    assert isinstance(found, Problem)
    return found


def test_a_named_pipe_is_refused_and_not_waited_for(folder: Path) -> None:
    """Nobody ever writes into it."""
    os.mkfifo(folder / "f/a/pipe.py")
    found = problem(folder)
    assert (found.file, found.message) == ("f/a/pipe.py", "is neither a file nor a link to one")


def test_a_file_that_is_too_large_is_refused(folder: Path) -> None:
    """It is not even read."""
    with (folder / "f/a/data.py").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    found = problem(folder)
    assert (found.file, found.message) == ("f/a/data.py", "is 8.0 MiB, at most 8 are deployed")


def test_a_link_to_a_folder_is_warned_about_and_one_to_a_file_is_read(folder: Path, tmp_path: Path) -> None:
    """Whoever expects its scripts to be deployed learns that they are not."""
    (folder / "f/b").symlink_to(tmp_path / "f/a")
    (folder / "f/a/t.py").symlink_to(folder / "f/a/s.py")
    workspace = read_workspace(folder)
    assert set(workspace.scripts) == {"f/a/s", "f/a/t"}
    assert [(warning.file, warning.message) for warning in workspace.warnings] == [
        ("f/b", "a link to a folder is not followed")
    ]


_LINES = "".join(f"  a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 8)}]\n" for i in range(1, 30))


@pytest.mark.parametrize(
    "value, line, key, message",
    [
        (f"\n  a0: &a0 [1]\n{_LINES}", 3, "value", "its aliases stand for more than 100000 values"),
        (" &a [*a, *a]\n", 2, "value", "has an alias that leads back into itself"),
        (f" {'[' * 3000}{']' * 3000}\n", 0, "", "nested too deeply"),
    ],
)
def test_yaml_that_unfolds_without_end_is_refused(folder: Path, value: str, line: int, key: str, message: str) -> None:
    """In no time, and in a line."""
    (folder / "f/a/r.resource.yaml").write_text(f"resource_type: x\nvalue:{value}")
    found = problem(folder)
    assert (found.file, found.line, found.key, found.message) == ("f/a/r.resource.yaml", line, key, message)


def test_an_alias_that_means_something_is_put_in_place(folder: Path) -> None:
    """As YAML has it."""
    (folder / "f/a/r.resource.yaml").write_text("resource_type: x\nvalue: {a: &a [1, 2], b: *a}\n")
    assert read_workspace(folder).resources["f/a/r"].value == {"a": [1, 2], "b": [1, 2]}
