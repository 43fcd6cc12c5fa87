"""Flows on this machine: what a worker has, and mistakes in tests that would prove nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import CommandLine

NOWHERE = "redis://127.0.0.1:1/0"
SHARED = """\
value:
  same_worker: true
  modules:
    - id: a
      value: {type: rawscript, language: bash, content: 'echo hello > ./shared/x; echo done', input_transforms: {}}
    - id: b
      value:
        type: rawscript
        language: python3
        content: |
          import os
          def main():
              found = os.listdir("shared")
              open("shared/y", "w").close()
              return found
        input_transforms: {}
      sleep: 1
    - id: c
      value: {type: script, path: f/t/list, input_transforms: {before: {type: javascript, expr: results.b}}}
"""
LIST = "import os\n\ndef main(before):\n    return [before, os.listdir('shared')]\n"
BRANCHES = """\
value:
  modules:
    - id: choose
      value:
        type: branchone
        branches: []
        default: [{id: send, value: {type: script, path: f/t/send, input_transforms: {}}}]
"""
ENDLESS = """\
value:
  modules:
    - id: l
      value: {type: whileloopflow, skip_failures: true, modules: [{id: i, value: {type: identity}}]}
"""


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> CommandLine:
    """The command line where there is no Redis."""
    monkeypatch.setenv("HEADRACE_DATA", str(tmp_path / "data"))
    return CommandLine(NOWHERE, monkeypatch, capsys)


def workspace(folder: Path, flow: str, **scripts: str) -> Path:
    """One with a flow and scripts."""
    (folder / "f/t/flow.flow").mkdir(parents=True)
    (folder / "f/t/flow.flow/flow.yaml").write_text(flow)
    for name, source in scripts.items():
        (folder / f"f/t/{name}.py").write_text(source)
    return folder


def test_the_steps_of_a_flow_share_a_folder_until_it_waits(local: CommandLine, tmp_path: Path) -> None:
    """As in a worker; nothing is left of it."""
    folder = workspace(tmp_path / "ws", SHARED, list=LIST)
    done = local.json("flow", "run", "f/t/flow", "--dir", folder, "--args", "{}", "--no-wait")

    assert done["result"] == [["x"], []]


def test_a_loop_without_an_end_ends_here_too(local: CommandLine, tmp_path: Path) -> None:
    """With what a worker says."""
    folder = workspace(tmp_path / "ws", ENDLESS)
    done = local("flow", "run", "f/t/flow", "--dir", folder, "--args", "{}")

    assert done.status == 1
    assert "FlowTooLarge" in done.err


@pytest.mark.parametrize(
    "case, says",
    [
        ("mock: {sned: 1}", "mock: there is no step sned: did you mean send?"),
        ("fail: {zz: no}", "fail: there is no step zz: there are choose, send"),
        ("expect: {steps: [send, x]}", "steps: there is no step x"),
        ("expect: {branches: {send: default}}", "branches: there is no branchone send: there are choose"),
    ],
)
def test_a_test_that_names_a_step_that_is_not_there_runs_nothing(
    local: CommandLine, tmp_path: Path, case: str, says: str
) -> None:
    """A typo in a mock would have the real step run."""
    ran = tmp_path / "ran"
    folder = workspace(tmp_path / "ws", BRANCHES, send=f"def main():\n    open({str(ran)!r}, 'w').close()\n")
    (folder / "f/t/flow.test.yaml").write_text(f"tests:\n  - args: {{}}\n    {case}\n")
    (folder / "f/t/send.test.yaml").write_text("tests:\n  - args: {}\n    mock: {a: 1}\n")
    done = local("test", "--dir", folder)

    assert done.status == 1
    assert says in done.out
    assert "mock: f/t/send is a script, and has no steps" in done.out
    assert not ran.exists()
