"""`headrace history` and `headrace rollback`: the list of deployments, and the way back to one of them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from shared import keys
from shared.definitions import Trigger
from shared.deploy import Options, push, read_current, read_now
from shared.deployments import read_kept
from shared.rollback import rollback
from shared.secrets import SecretBox
from shared.store import Store
from shared.workspace import read_workspace
from shared.workspace.plan import Plan
from tests.support.command_line import CommandLine
from tests.support.workspaces import trigger_yaml, write_workspace

SCRIPT = "from f.t.lib import x\n\n\ndef main(payload: bytes): ...\n"
SECRET = "value: correct horse\nis_secret: true\n"


class Terminal(io.StringIO):
    """What a person types."""

    def isatty(self) -> bool:
        """It is one."""
        return True


@pytest.fixture
def command(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> CommandLine:
    """The command line on that server."""
    monkeypatch.setenv("HEADRACE_DATA", str(tmp_path / "data"))
    return CommandLine(redis_url, monkeypatch, capsys)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A workspace with two triggers, a script, its module and a secret."""
    triggers = {"a": trigger_yaml("s", ("x", 1)), "b": trigger_yaml("s", ("y", 2))}
    folder = write_workspace(tmp_path / "ws", 1883, triggers, {"s": SCRIPT, "lib": "x = 1\n"})
    (folder / "f/t/pw.variable.yaml").write_text(SECRET)
    return folder


def table(store: Store) -> dict[str, str]:
    """What is deployed."""
    return read_now(store).versions


def trigger(store: Store, path: str) -> Trigger:
    """A deployed trigger."""
    return read_current(store, create_id=False).triggers[path]


def changed_thrice(command: CommandLine, folder: Path) -> None:
    """Three deployments: the folder; another script and secret; a trigger renamed, one deleted, a script created."""
    command.text("push", folder, "-m", "first")
    (folder / "f/t/s.py").write_text(SCRIPT.replace("...", "return 1"))
    (folder / "f/t/pw.variable.yaml").write_text(SECRET.replace("horse", "staple"))
    command.text("push", folder)
    (folder / "f/t/a.mqtt_trigger.yaml").rename(folder / "f/t/renamed.mqtt_trigger.yaml")
    (folder / "f/t/b.mqtt_trigger.yaml").unlink()
    (folder / "f/t/more.py").write_text("def main(): ...\n")
    command.text("push", folder, "--prune", "-y", "-m", "third\ntime")


def test_deployments_are_listed_newest_first(command: CommandLine, folder: Path) -> None:
    """With who, why, and how much was changed; files are told by their definitions."""
    assert command.text("history") == "nothing was ever deployed\n"
    changed_thrice(command, folder)
    listed = command.lines("history")
    lines = command.text("history", "--limit", "2").splitlines()
    verbose = command.text("history", "--verbose")

    assert [each["number"] for each in listed] == [3, 2, 1]
    assert [each["message"] for each in listed] == ["third\ntime", "", "first"]
    assert listed[0]["counts"] == {"created": 2, "deleted": 2}
    assert listed[1]["counts"] == {"changed": 4}
    assert listed[2]["counts"] == {"created": 5}
    assert listed[0]["author"].startswith("push by ")
    assert [line.split()[0] for line in lines] == ["DEPLOYMENT", "3", "2"]
    assert "2 created, 2 deleted" in lines[1]
    assert r"third\ntime" in lines[1]
    assert "-  deleted  trigger  f/t/b" in verbose


def test_a_deployment_is_shown_with_the_changes_of_its_files(command: CommandLine, folder: Path) -> None:
    """As a diff against the one before. Of a secret, that it has changed."""
    changed_thrice(command, folder)
    shown, document = command.text("history", "show", 2), command.json("history", "show", 2)
    created = command.text("history", "show", 1)
    unknown = command("history", "show", 4)

    for line in ("~  changed  script    f/t/s   f/t/s.py", "~  changed  variable  f/t/pw  value", "--- a/f/t/s.py",
                 "-def main(payload: bytes): ...", "+def main(payload: bytes): return 1"):  # fmt: skip
        assert line in shown.splitlines()
    assert "+x = 1" in created.splitlines()
    assert [each["path"] for each in document["files"]] == ["f/t/s.py"]
    assert (unknown.status, "goes from 1 to 3" in unknown.err) == (1, True)
    for text in (shown, created, str(document)):
        assert "horse" not in text
        assert "staple" not in text
        assert "hr1:" not in text


def test_the_table_of_every_kept_deployment_can_be_found(command: CommandLine, store: Store, folder: Path) -> None:
    """By undoing those after it."""
    tables = []
    command.text("push", folder)
    tables.append(table(store))
    for text in ("x = 2\n", "x = 3\n"):
        (folder / "f/t/lib.py").write_text(text)
        command.text("push", folder)
        tables.append(table(store))
    (folder / "f/t/b.mqtt_trigger.yaml").unlink()
    command.text("push", folder, "--prune", "-y")
    tables.append(table(store))

    assert [read_kept(store).at(number)[1].versions for number in (1, 2, 3, 4)] == tables


def test_a_rollback_makes_what_was_deployed_then_current(command: CommandLine, store: Store, folder: Path) -> None:
    """All of it and nothing else, as a new deployment; what had been renamed and deleted has its session again."""
    command.text("push", folder)
    first, session = table(store), trigger(store, "f/t/a").session
    changed_thrice(command, folder)
    third = table(store)
    report = command.json("rollback", 1, "--yes")
    back = table(store)
    again = command.json("rollback", 1, "--yes")
    forward = command.json("rollback", 3, "--yes", "-m", "on again")

    assert (report["deployment"], report["applied"], report["back_to"]) == (4, True, 1)
    assert ("renamed", "f/t/a") in [(each["action"], each["path"]) for each in report["changes"]]
    assert back == first
    assert (again["applied"], again["changes"]) == (False, [])
    assert (forward["deployment"], table(store)) == (5, third)
    assert trigger(store, "f/t/renamed").session == session
    history = command.lines("history")
    assert [each["message"] for each in history[:2]] == ["on again", "back to 1"]
    assert history[0]["author"].startswith("rollback by ")


def test_the_old_secret_is_back_after_a_rollback(command: CommandLine, folder: Path, tmp_path: Path) -> None:
    """If it was sealed with the key that is used now; else nothing is changed."""
    changed_thrice(command, folder)
    refused = _without_key(command, tmp_path, "rollback", 1, "--yes")
    command.text("rollback", 1, "--yes")
    command.text("pull", tmp_path / "new", "--secrets")

    assert (refused.status, "f/t/pw cannot be opened" in refused.err) == (1, True)
    assert "correct horse" in (tmp_path / "new/f/t/pw.variable.yaml").read_text()


def test_a_trigger_keeps_the_session_that_its_path_has_now(command: CommandLine, store: Store, folder: Path) -> None:
    """Deleted and made anew, it is known to the broker under what it is now; its settings are those of then."""
    command.text("push", folder)
    text = (folder / "f/t/a.mqtt_trigger.yaml").read_text()
    (folder / "f/t/a.mqtt_trigger.yaml").unlink()
    command.text("push", folder, "--prune", "-y")
    (folder / "f/t/a.mqtt_trigger.yaml").write_text(text.replace("'x'", "'z'"))
    command.text("push", folder)
    now = trigger(store, "f/t/a")
    command.text("rollback", 1, "--yes")
    back = trigger(store, "f/t/a")

    assert (back.session, back.client_id) == (now.session, now.client_id)
    assert ([topic.topic for topic in back.topics], [topic.topic for topic in now.topics]) == (["x"], ["z"])


def test_two_triggers_never_get_one_session(command: CommandLine, store: Store, folder: Path) -> None:
    """The second was deleted and the first took its name: it stays what it is, and the first is made anew."""
    command.text("push", folder)
    (folder / "f/t/b.mqtt_trigger.yaml").unlink()
    command.text("push", folder, "--prune", "-y")
    (folder / "f/t/a.mqtt_trigger.yaml").rename(folder / "f/t/b.mqtt_trigger.yaml")
    command.text("push", folder, "--prune", "-y")
    now = trigger(store, "f/t/b")
    command.text("rollback", 1, "--yes")
    a, b = trigger(store, "f/t/a"), trigger(store, "f/t/b")

    assert (b.session, b.client_id) == (now.session, now.client_id)
    assert a.session != b.session
    assert a.client_id != b.client_id


def test_nothing_is_rolled_back_unasked(
    command: CommandLine, store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody can be asked --yes has to be said; a dry run needs no answer and does nothing."""
    changed_thrice(command, folder)
    before = table(store)
    alone = command("rollback", 1)
    dry = command("rollback", 1, "--dry-run")
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    refused = command("rollback", 1)

    assert (alone.status, "--yes does it" in alone.err) == (1, True)
    assert (dry.status, "would go back to 1: " in dry.out) == (0, True)
    assert (refused.status, "Go back to deployment 1?" in refused.err) == (1, True)
    assert table(store) == before
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    assert command("rollback", 1).status == 0


def test_a_deployment_that_comes_between_is_taken_into_account(store: Store, folder: Path, tmp_path: Path) -> None:
    """A rollback is planned again against it, and undoes it too."""
    options = Options(60, box=SecretBox(lambda: b"a key of the tests"))
    push(store, read_workspace(folder), options, lambda _plan: True)
    first = table(store)
    (folder / "f/t/lib.py").write_text("x = 2\n")
    push(store, read_workspace(folder), options, lambda _plan: True)
    other = write_workspace(tmp_path / "other", 1883, {"c": trigger_yaml("c", ("z", 1))}, {"c": "def main(): ...\n"})
    seen: list[int] = []

    def approve(plan: Plan) -> bool:
        seen.append(plan.against)
        if len(seen) == 1:
            push(store, read_workspace(other), options, lambda _plan: True)
        return True

    done = rollback(store, 1, options, approve)

    assert (seen, done.number, table(store)) == ([2, 3], 4, first)


def test_the_list_is_bounded(command: CommandLine, store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go first; who is gone cannot be gone back to."""
    monkeypatch.setenv("HEADRACE_RETENTION__DEPLOYMENTS_MAX", "2")
    for text in ("x = 1\n", "x = 2\n", "x = 3\n"):
        (folder / "f/t/lib.py").write_text(text)
        command.text("push", folder)
    gone = command("rollback", 1, "--yes")

    assert store.command("LLEN", keys.DEPLOYMENTS) == 2
    assert (gone.status, "goes from 2 to 3" in gone.err) == (1, True)
    command.text("rollback", 2, "--yes")


def _without_key(command: CommandLine, tmp_path: Path, *arguments: Any) -> Any:
    key = tmp_path / "data/secret.key"
    text = key.read_text()
    key.write_text("another key of 16 or more")
    try:
        return command(*arguments)
    finally:
        key.write_text(text)
