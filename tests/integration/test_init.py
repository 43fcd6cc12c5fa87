"""`headrace init`: what it writes can be pushed and tested as it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.processes import headrace_env

WRITTEN = {
    ".gitignore", "Procfile", "README.md", "pytest.ini", "wmill.yaml", "f/lib/units.py", "f/plant/on_reading.py",
    "f/plant/reading.mqtt_trigger.yaml", "f/plant/broker.resource.yaml", "f/plant/broker_password.variable.yaml",
    "f/plant/on_reading.test.yaml", "tests/reading.json", "tests/test_on_reading.py",
}  # fmt: skip


@pytest.fixture
def command(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> CommandLine:
    """The command line on an empty server."""
    monkeypatch.setenv("HEADRACE_DATA", str(tmp_path / "data"))
    return CommandLine(redis_url, monkeypatch, capsys)


def files(folder: Path) -> set[str]:
    """What a folder holds."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_new_workspace_pushes_without_a_warning(command: CommandLine, tmp_path: Path) -> None:
    """It is said what to do next."""
    said = command.text("init", tmp_path / "new")
    pushed = command("push", tmp_path / "new")

    assert files(tmp_path / "new") == WRITTEN
    assert f"headrace push {tmp_path / 'new'}" in said
    assert "headrace publish plant/north/temperature" in said
    assert (pushed.status, pushed.err) == (0, "")
    assert "4 created" in pushed.out


def test_its_own_test_passes(command: CommandLine, tmp_path: Path) -> None:
    """With pytest alone, as somebody's CI would run it."""
    command.text("init", tmp_path / "new")
    env = headrace_env({}) | {"PYTHONPATH": "", "PYTHONSAFEPATH": ""}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path / "new", env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_its_tests_pass_without_redis(command: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `headrace test`, which knows the packages and the trigger."""
    command.text("init", tmp_path / "new")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")

    assert command.json("test", "--dir", tmp_path / "new")["passed"] == 2


def test_the_broker_is_the_one_of_the_settings(
    command: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is the broker to which `headrace publish` publishes."""
    monkeypatch.setenv("HEADRACE_BROKER", "mqtt://mqtt.example:2883")
    command.text("init", tmp_path / "new")

    assert "  broker: mqtt.example\n  port: 2883\n" in (tmp_path / "new/f/plant/broker.resource.yaml").read_text()


def test_nothing_is_overwritten(command: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One file that is there, and none is written; other files do no harm. Without a name it is this folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text("mine\n")
    (tmp_path / "LICENSE").write_text("mine\n")
    refused = command("init")
    before = files(tmp_path)
    (tmp_path / "README.md").unlink()

    assert (refused.status, "README.md: there already, nothing was written" in refused.err) == (1, True)
    assert before == {"README.md", "LICENSE"}
    assert command("init").status == 0
    assert files(tmp_path) == WRITTEN | {"LICENSE"}
