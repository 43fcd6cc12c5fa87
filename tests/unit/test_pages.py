"""The pages of the project: what they say about the code and about each other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shared.errors import WorkspaceError
from shared.workspace import check_files
from shared.workspace.files import Files
from shared.workspace.problems import Problem, Problems
from tests.support.pages import all_pages, broken_links
from tests.support.processes import ROOT

_EVERYTHING_WRONG = {
    "f/x.mqtt_trigger.yaml": (
        "?: 1\nv5_config: {?: 1}\nv3_config: {?: 1}\nsubscribe_topics:\n  - {?: 1}\nfilters:\n  - {?: 1}\n"
    ),
    "f/x.resource.yaml": "?: 1\nresource_type: mqtt\nvalue: {?: 1, credentials: {?: 1}, tls: {?: 1}}\n",
    "f/x.script.yaml": "?: 1\n",
    "f/x.variable.yaml": "?: 1\n",
    "f/x.flow/flow.yaml": "?: 1\n",
    "f/x.py": "def main(): ...\n",
}
"""A key that nobody knows, wherever there can be keys: the errors tell which ones are known."""


@pytest.mark.parametrize("page", all_pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_pages_and_headings_that_exist(page: Path) -> None:
    """Whoever follows a link arrives."""
    assert broken_links(page) == []


def test_every_key_of_a_workspace_file_is_described() -> None:
    """The reference page names what the reader of the files knows."""
    problems = _problems(_EVERYTHING_WRONG)
    hints = [problem.hint.removeprefix("known are ") for problem in problems if problem.message == "unknown key"]
    known = {key for hint in hints for key in hint.split(", ")}
    described = (ROOT / "docs/reference/workspace.md").read_text(encoding="utf-8")

    assert len(hints) == 11
    assert {key for key in known if not re.search(rf"[`.]{key}[`.]", described)} == set()


def _problems(texts: dict[str, str]) -> list[Problem]:
    with pytest.raises(WorkspaceError) as error:
        check_files(Files(texts, []), "folder", Problems())
    problems = error.value.fields["problems"]
    assert isinstance(problems, list)
    return problems
