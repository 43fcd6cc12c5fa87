"""The workspace's own error handler, from `headrace.yaml` on disk to the triggers that are deployed."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.config import Settings
from shared.definitions import ErrorHandler, Trigger
from shared.deploy import edit, read_current
from shared.store import Store
from tests.support.command_line import CommandLine
from tests.support.workspaces import trigger_yaml, write_workspace

SCRIPT = "def main(payload: bytes): ...\n"
ALARM = "def main(error): ...\n"
DEFAULTS = "headrace.yaml"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A workspace with a trigger and an error handler for all that fails."""
    made = write_workspace(
        tmp_path / "ws", 1883, {"a": trigger_yaml("s", ("x", 1))}, {"s": SCRIPT, "alarm": ALARM, "other": ALARM}
    )
    (made / DEFAULTS).write_text("error_handler: f/t/alarm\n")
    return made


@pytest.fixture
def command(redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """The command line on that server."""
    return CommandLine(redis_url, monkeypatch, capsys)


def trigger(store: Store) -> Trigger:
    """The trigger as it is deployed."""
    return read_current(store, create_id=False).triggers["f/t/a"]


def test_it_is_deployed_with_each_trigger_and_kept_until_it_is_pruned(
    command: CommandLine, store: Store, folder: Path
) -> None:
    """A folder without the file says nothing about it."""
    command.json("push", folder)
    first = trigger(store)
    (folder / DEFAULTS).unlink()
    again = command.json("push", folder)
    kept = trigger(store)
    command.json("push", folder, "--prune", "--yes")

    assert first.handler_of("f/t/s") == kept.handler_of("f/t/s") == ErrorHandler("f/t/alarm")
    assert first.runnables["f/t/alarm"] == kept.runnables["f/t/alarm"]
    assert again["changes"] == []
    assert trigger(store).handler_of("f/t/s") is None
    assert trigger(store).session == first.session


def test_it_follows_a_change_of_the_file_or_of_the_script(
    command: CommandLine, store: Store, folder: Path, redis_url: str
) -> None:
    """By a push, and by an edit of what is deployed."""
    command.json("push", folder)
    first = trigger(store)
    (folder / "f/t/alarm.py").write_text(ALARM + "# louder\n")
    command.json("push", folder)
    louder = trigger(store)
    settings = Settings(redis_url=redis_url, data=folder.parent / "data")
    edit(store, settings, {DEFAULTS: "error_handler: script/f/t/other\n"}, "test")

    assert first.runnables["f/t/alarm"].version != louder.runnables["f/t/alarm"].version
    assert trigger(store).handler_of("f/t/s") == ErrorHandler("f/t/other")
