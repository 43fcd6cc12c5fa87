"""The pages about flows: the files that they show are written as they stand, and do what they say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from shared.workspace import read_workspace
from tests.support.command_line import CommandLine
from tests.support.processes import ROOT

HOWTO = ROOT / "docs/howto"
_FILE = re.compile(r"^```(?:yaml|python)\n# (f/\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MORE = {
    "f/plant/raise_alarm.py": "def main(tank, hot):\n    return f'{tank} is hot' if hot else 'nothing'\n",
    "f/plant/alarm.flow/flow.yaml": "value: {modules: []}\n",
    "f/plant/broker.resource.yaml": "resource_type: mqtt\nvalue: {broker: localhost, port: 1883}\n",
}


def files_of(page: str) -> dict[str, str]:
    """Path → text of each block that begins with the name of its file."""
    return {match[1]: match[2] for match in _FILE.finditer((HOWTO / page).read_text(encoding="utf-8"))}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The workspace of the pages, and what they only name."""
    for name, text in {**_MORE, **files_of("write-a-flow.md"), **files_of("test-in-ci.md")}.items():
        file = tmp_path / "ws" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "ws"


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> CommandLine:
    """The command line where there is no Redis."""
    monkeypatch.setenv("HEADRACE_DATA", str(tmp_path / "data"))
    return CommandLine("redis://127.0.0.1:1/0", monkeypatch, capsys)


def test_the_first_flow_runs_as_its_page_shows(local: CommandLine, folder: Path) -> None:
    """Without a warning, and with the result of the page; the trigger runs it, and another one for another topic."""
    said = local("flow", "run", "f/plant/hot", "--dir", folder, "--args", '{"t": 31, "site": "north"}')
    found = read_workspace(folder)

    assert json.loads(said.out) == "north is hot"
    assert [line.split("  ")[0] for line in said.err.splitlines()][:2] == ["✓ check", "✓ tell"]
    assert found.warnings == []
    assert found.triggers[0].flows == {"f/plant/hot", "f/plant/alarm"}


def test_the_tests_of_the_page_pass(local: CommandLine, folder: Path) -> None:
    """Both of them."""
    done = local.json("test", "--dir", folder)

    assert (done["passed"], done["failed"]) == (2, 0), done


def test_a_mistake_is_told_as_the_page_shows(local: CommandLine, folder: Path) -> None:
    """With file, line, step and field."""
    flow = folder / "f/plant/hot.flow/flow.yaml"
    flow.write_text(flow.read_text().replace("results.check.hot", "results.chek.hot"))
    said = local("flow", "run", "f/plant/hot", "--dir", folder, "--args", "{}")
    shown = re.search(
        r"f/plant/hot.flow/flow.yaml:\d+: (step .*\n    did .*)\n", (HOWTO / "write-a-flow.md").read_text()
    )

    assert shown is not None
    assert shown[1].split("\n")[0] in said.err
    assert shown[1].split("\n")[1].strip() in said.err
