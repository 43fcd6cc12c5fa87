"""The list of deployments: what was deployed at any of them, and which paths a workspace has."""

from __future__ import annotations

import pytest

from shared.deployment import Deployed
from shared.deployments import Deployment, Kept
from shared.errors import UserError
from shared.workspace.layout import is_workspace_file


def deployment(number: int, changed: dict[str, str], deleted: list[str], before: dict[str, str]) -> Deployment:
    """One with these changes."""
    return Deployment(number, 0, "", "", changed, deleted, before)


LIST = [
    deployment(4, {"script:b": "4"}, ["script:a"], {"script:a": "3", "script:b": "2"}),
    deployment(3, {"script:a": "3", "script:c": "3"}, [], {"script:a": "2"}),
    deployment(2, {"script:a": "2", "script:b": "2"}, ["script:d"], {"script:a": "1", "script:d": "1"}),
]
NOW = Deployed(4, {"script:b": "4", "script:c": "3"})


@pytest.mark.parametrize(
    "number, table",
    [
        (4, {"script:b": "4", "script:c": "3"}),
        (3, {"script:a": "3", "script:b": "2", "script:c": "3"}),
        (2, {"script:a": "2", "script:b": "2"}),
    ],
)
def test_the_table_of_a_deployment_is_found_by_undoing_those_after_it(number: int, table: dict[str, str]) -> None:
    """Created entries go, changed and deleted ones come back."""
    assert Kept(NOW, LIST).at(number) == (LIST[4 - number], Deployed(number, table))


@pytest.mark.parametrize("number", [0, 1, 5])
def test_a_deployment_that_is_not_in_the_list_is_an_error(number: int) -> None:
    """It says which ones are; a record that is gone cannot be undone."""
    with pytest.raises(UserError, match="goes from 2 to 4"):
        Kept(NOW, LIST).at(number)


@pytest.mark.parametrize(
    "path, is_one",
    [
        ("f/a.py", True), ("f/x.flow/flow.yaml", True), ("f/x.flow/a b.py", True), ("headrace.yaml", True),
        ("f/.a.py", False), ("/f/a.py", False), ("../a.py", False), ("f/./a.py", False), ("f/a.py/", False),
        ("", False), ("f/node_modules/a.py", False), ("f/x.app/a.py", False), ("notes.md", False),
        ("f/a\x00.py", False),
    ],
)  # fmt: skip
def test_only_what_a_push_reads_is_a_path_of_a_workspace(path: str, is_one: bool) -> None:  # noqa: FBT001 - a table
    """A pull writes no other, whatever Redis says."""
    assert is_workspace_file(path) is is_one
