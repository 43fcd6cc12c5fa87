"""Flows from a folder to what is deployed, back into a folder, and back in time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shared import history
from shared.cli_common import settings
from shared.definitions import Runnable, Script
from shared.deploy import edit, read_current
from shared.deployment import read_all
from shared.store import Store
from tests.support.command_line import CommandLine
from tests.support.eventually import eventually
from tests.support.flows import run_flow
from tests.support.processes import HeadraceProcess
from tests.support.wheels import PackageFolder
from tests.support.workspaces import trigger_yaml, write_workspace

FLOW = """\
# the hot path
summary: hot path
value:
  modules:
    - id: a
      value:
        type: rawscript
        language: python3
        content: '!inline check.py'
        input_transforms:
          t: {type: javascript, expr: flow_input.t}
    - id: b
      value: {type: script, path: f/t/s, input_transforms: {}}
"""
CHECK = "import tank\n\n\ndef main(t):\n    return tank.LITRES\n"
INPUTS = "path: f/t/s, input_transforms: {own: {type: javascript, expr: results.a}}"
TRIGGER = trigger_yaml("hot", ("x", 1)).replace("is_flow: false", "is_flow: true")


@pytest.fixture
def command(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> CommandLine:
    """The command line on that server, where uv can have the package tank and nothing else."""
    packages = PackageFolder(tmp_path / "packages")
    packages.add("tank", "1.0", "LITRES = 1000")
    for name, value in packages.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HEADRACE_DATA", str(tmp_path / "data"))
    return CommandLine(redis_url, monkeypatch, capsys)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A workspace with a trigger that runs a flow, which needs a package."""
    root = write_workspace(tmp_path / "ws", 1883, {"a": TRIGGER}, {"s": "def main(): ...\n"})
    (root / "f/t/hot__flow").mkdir()
    (root / "f/t/hot__flow/flow.yaml").write_text(FLOW)
    (root / "f/t/hot__flow/check.py").write_text(CHECK)
    return root


def step(store: Store, name: str) -> Script:
    """The script that a step of the deployed flow runs."""
    runnable = read_current(store, create_id=False).flows["f/t/hot"].runnables[name]
    return read_all(store, {name: runnable.version}, Script)[name]


def test_the_code_of_a_flow_gets_its_packages(command: CommandLine, store: Store, folder: Path) -> None:
    """Resolved and installed as those of scripts, and asked for once."""
    first, second = command("push", folder), command("push", folder)

    assert (first.status, first.err) == (
        0,
        "resolving packages: tank\ninstalling the packages of f/t/hot__flow/check.py\n",
    )
    assert (step(store, "a").requirements, step(store, "a").lock) == (["tank"], "tank==1.0")
    assert second.err == ""


def test_what_a_flow_consists_of_is_told_with_it(command: CommandLine, folder: Path) -> None:
    """Created, changed by its own code, changed by a script that it runs."""
    created = command.json("push", folder)["changes"]
    (folder / "f/t/hot__flow/check.py").write_text(CHECK + "\n")
    by_code = command.json("push", folder)["changes"]
    (folder / "f/t/s.py").write_text("def main(): return 2\n")
    by_script = command.json("push", folder)["changes"]

    assert sorted((each["kind"], each["path"]) for each in created) == [
        ("broker", "f/t/broker"), ("flow", "f/t/hot"), ("script", "f/t/s"), ("trigger", "f/t/a"),
    ]  # fmt: skip
    assert [(each["path"], each["details"]) for each in by_code] == [("f/t/hot", ["step a"]), ("f/t/a", ["f/t/hot"])]
    assert ("f/t/hot", ["f/t/s"]) in [(each["path"], each["details"]) for each in by_script]


def test_what_an_expression_looks_up_by_its_name_has_to_be_there(command: CommandLine, folder: Path) -> None:
    """As what a static input refers to; a path that is computed is looked up when the step starts."""
    looks_up = "`${variable('f/t/limt')}-${resource('f/t/' + 'db')}`"
    (folder / "f/t/hot__flow/flow.yaml").write_text(FLOW.replace("flow_input.t", f'"{looks_up}"'))
    (folder / "f/t/limit.variable.yaml").write_text("value: '3'\nis_secret: false\n")
    refused = command("push", folder)
    (folder / "f/t/limt.variable.yaml").write_text("value: '3'\nis_secret: false\n")

    assert "there is no variable f/t/limt" in refused.out + refused.err
    assert "input_transforms.t.expr" in refused.out + refused.err
    assert command("push", folder).status == 0


def test_a_pulled_flow_pushes_back_as_unchanged(command: CommandLine, folder: Path, tmp_path: Path) -> None:
    """With every comment."""
    command.text("push", folder)
    command.text("pull", tmp_path / "new")
    pushed = command.json("push", tmp_path / "new")

    assert (pushed["changes"], pushed["kept"]) == ([], [])
    assert (tmp_path / "new/f/t/hot__flow/flow.yaml").read_text() == FLOW


def test_a_rollback_brings_back_the_code_of_then(command: CommandLine, store: Store, folder: Path) -> None:
    """Its version names it."""
    command.text("push", folder)
    before = step(store, "a")
    (folder / "f/t/hot__flow/check.py").write_text("def main(): ...\n")
    command.text("push", folder)
    changed = step(store, "a")
    done = command.json("rollback", 1, "--yes")

    assert changed != before
    assert step(store, "a") == before
    assert ("flow", "f/t/hot") in [(each["kind"], each["path"]) for each in done["changes"]]
    assert "check.py" in command.text("history", "show", 2)


def test_a_deleted_flow_is_gone(command: CommandLine, store: Store, folder: Path) -> None:
    """And the triggers that run it are told of."""
    command.text("push", folder)
    for file in (folder / "f/t/hot__flow").iterdir():
        file.unlink()
    refused = command("push", folder, "--prune", "--yes")
    (folder / "f/t/a.mqtt_trigger.yaml").unlink()
    command.text("push", folder, "--prune", "--yes")

    assert "there is no flow f/t/hot" in refused.err
    assert read_current(store, create_id=False).flows == {}


def test_a_flow_is_edited_where_it_is_deployed(command: CommandLine, store: Store, folder: Path) -> None:
    """As a push of all deployed files with this one changed; its packages stay."""
    command.text("push", folder)
    edit(store, settings(), {"f/t/hot__flow/flow.yaml": FLOW.replace("flow_input.t", "flow_input.temperature")}, "me")

    assert "temperature" in str(read_current(store, create_id=False).flows["f/t/hot"].value)
    assert step(store, "a").lock == "tank==1.0"


def test_a_run_that_is_queued_runs_what_it_was_queued_with(
    command: CommandLine, store: Store, folder: Path, headrace: Callable[..., HeadraceProcess], redis_url: str
) -> None:
    """Its own code and the scripts of the workspace, whatever is pushed meanwhile."""
    (folder / "f/t/hot__flow/flow.yaml").write_text(FLOW.replace("path: f/t/s, input_transforms: {}", INPUTS))
    for number in (1, 2):
        (folder / "f/t/hot__flow/check.py").write_text(f"def main(t):\n    return 'own {number}'\n")
        (folder / "f/t/s.py").write_text(f"def main(own):\n    return [own, 'script {number}']\n")
        command.text("push", folder)
        version = read_current(store, create_id=False).deployed.versions["flow:f/t/hot"]
        run_flow(store, Runnable("f/t/hot", version, 60, is_flow=True), f"q1-case-1-{number}", {"t": 1})
    headrace("worker", REDIS_URL=redis_url)

    for number in (1, 2):
        run_id = f"q1-case-1-{number}"
        eventually(lambda run_id=run_id: history.show(store, run_id).run.ended_at is not None)  # type: ignore[misc]
        assert history.show(store, run_id).run.result == [f"own {number}", f"script {number}"]
