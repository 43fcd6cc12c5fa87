"""`headrace pull`: what is deployed, as files that push back as unchanged."""

from __future__ import annotations

import io
import os
import shutil
import stat
from pathlib import Path

import pytest

from shared import keys
from shared.config import Settings
from shared.definitions import File, encode_definition
from shared.secrets import SecretBox
from shared.store import Store
from tests.support.command_line import CommandLine
from tests.support.processes import ROOT
from tests.support.workspaces import trigger_yaml, write_workspace

SCRIPT = "def main(payload: bytes): ...\n"
SECRET = "# note\ndescription: ''\nvalue: correct horse  # here\nis_secret: true\n"
WINDMILL = ROOT / "tests" / "fixtures" / "windmill"


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
    """A workspace with a trigger, a script and secrets: one on a line, one on several, one in a flow mapping."""
    folder = write_workspace(tmp_path / "ws", 1883, {"a": trigger_yaml("s", ("x", 1))}, {"s": SCRIPT})
    (folder / "f/t/pw.variable.yaml").write_text(SECRET)
    (folder / "f/t/pem.variable.yaml").write_text(
        "value: |\n  -- BEGIN --\n  ümlaut\ndescription: ''\nis_secret: true\n"
    )
    (folder / "f/t/inline.variable.yaml").write_text("{value: staple, is_secret: true}\n")
    return folder


def files(folder: Path) -> dict[str, str]:
    """All that a folder holds, hidden files too."""
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_what_is_pulled_pushes_back_as_unchanged(command: CommandLine, folder: Path, tmp_path: Path) -> None:
    """Also a Windmill workspace, into a folder that is not there yet; a second pull has nothing to do."""
    command.text("push", folder)
    command.text("push", WINDMILL)
    first = command.json("pull", tmp_path / "new")
    again = command.json("pull", tmp_path / "new")
    pushed = command.json("push", tmp_path / "new")
    pulled = files(tmp_path / "new")

    assert {change["action"] for change in first["changes"]} == {"created"}
    assert (again["changes"], again["applied"], len(again["unchanged"])) == ([], False, len(first["changes"]))
    assert (pushed["changes"], pushed["applied"], pushed["kept"]) == ([], False, [])
    assert pulled["f/t/a.mqtt_trigger.yaml"] == (folder / "f/t/a.mqtt_trigger.yaml").read_text()
    assert pulled["f/iot/hot__flow/flow.yaml"] == (WINDMILL / "f/iot/hot__flow/flow.yaml").read_text()


def test_secrets_are_left_out_unless_asked_for(
    command: CommandLine, folder: Path, tmp_path: Path, store: Store
) -> None:
    """Without them nothing of them is written; with them they are whole, and for their owner alone. Both push back."""
    command.text("push", folder)
    command.text("pull", tmp_path / "without")
    with_them = command("pull", tmp_path / "with", "--secrets")
    without, plain = files(tmp_path / "without"), files(tmp_path / "with")

    assert not [text for text in without.values() if "correct horse" in text or "BEGIN" in text or "hr1:" in text]
    assert without["f/t/pw.variable.yaml"] == SECRET.replace(" correct horse", "")
    assert plain["f/t/pw.variable.yaml"] == SECRET
    assert "written with secrets as plain text" in with_them.err
    for name, path in (("with", "f/t/pem.variable.yaml"), ("with", "f/t/pw.variable.yaml")):
        assert stat.S_IMODE((tmp_path / name / path).stat().st_mode) == 0o600
    assert command.json("push", tmp_path / "without")["changes"] == []
    assert command.json("push", tmp_path / "with")["changes"] == []
    assert "correct horse" not in repr(store.command("HGETALL", keys.DEFINITIONS))


def test_a_secret_in_the_folder_is_no_difference_and_stays(command: CommandLine, folder: Path) -> None:
    """It is the deployed one, or one that the next push would deploy: a pull without secrets cannot know better."""
    command.text("push", folder)
    report = command.json("pull", folder)

    assert report["changes"] == []
    assert (folder / "f/t/pw.variable.yaml").read_text() == SECRET


def test_a_secret_that_others_may_read_is_closed(command: CommandLine, folder: Path) -> None:
    """When secrets are asked for; its text may be right already."""
    command.text("push", folder)
    (folder / "f/t/pw.variable.yaml").chmod(0o644)
    command.text("pull", folder, "--secrets", "--yes")

    assert stat.S_IMODE((folder / "f/t/pw.variable.yaml").stat().st_mode) == 0o600
    assert (folder / "f/t/pw.variable.yaml").read_text() == SECRET


def test_secrets_without_their_key_are_an_error(
    command: CommandLine, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing is written; without secrets no key is needed."""
    command.text("push", folder)
    monkeypatch.setenv("HEADRACE_SECRET_KEY", "another key of 16 or more")
    said = command("pull", tmp_path / "new", "--secrets")

    assert (said.status, "cannot be opened" in said.err, (tmp_path / "new").exists()) == (1, True, False)
    assert command("pull", tmp_path / "new").status == 0


def test_what_would_be_overwritten_is_refused_where_nobody_can_be_asked(command: CommandLine, folder: Path) -> None:
    """Not even what would only be created is written then."""
    command.text("push", folder)
    (folder / "f/t/s.py").write_text("def main(mine): ...\n")
    (folder / "f/t/a.mqtt_trigger.yaml").unlink()
    refused = command("pull", folder)
    kept = files(folder)
    done = command.json("pull", folder, "--yes")

    assert (refused.status, "overwrite 1 of the files" in refused.err, "--yes" in refused.err) == (1, True, True)
    assert kept["f/t/s.py"] == "def main(mine): ...\n"
    assert "f/t/a.mqtt_trigger.yaml" not in kept
    assert [(each["action"], each["path"]) for each in done["changes"]] == [
        ("created", "f/t/a.mqtt_trigger.yaml"),
        ("changed", "f/t/s.py"),
    ]
    assert (folder / "f/t/s.py").read_text() == SCRIPT


@pytest.mark.parametrize("answer, status, text", [("n", 1, "mine\n"), ("y", 0, SCRIPT)])
def test_a_person_is_asked_before_something_is_overwritten(
    command: CommandLine, folder: Path, monkeypatch: pytest.MonkeyPatch, answer: str, status: int, text: str
) -> None:
    """Who says no has written nothing."""
    command.text("push", folder)
    (folder / "f/t/s.py").write_text("mine\n")
    monkeypatch.setattr("sys.stdin", Terminal(f"{answer}\n"))
    said = command("pull", folder)

    assert "Overwrite 1 of the files in" in said.err
    assert said.status == status
    assert (folder / "f/t/s.py").read_text() == text


def test_only_prune_deletes_and_only_what_a_push_would_deploy(command: CommandLine, tmp_path: Path) -> None:
    """Schedules, apps, hidden files, a lock without its script: not ours."""
    folder = tmp_path / "ws"
    shutil.copytree(WINDMILL, folder)
    command.text("push", folder)
    (folder / ".git").mkdir()
    (folder / ".git/config").write_text("[core]\n")
    (folder / "f/iot/extra.py").write_text(SCRIPT)
    before = files(folder)
    kept = command.json("pull", folder)
    refused = command("pull", folder, "--prune")
    done = command.json("pull", folder, "--prune", "--yes")

    assert (kept["changes"], kept["kept"]) == ([], ["f/iot/extra.py"])
    assert (refused.status, "delete 1 of the files" in refused.err) == (1, True)
    assert [(each["action"], each["path"]) for each in done["changes"]] == [("deleted", "f/iot/extra.py")]
    assert files(folder) == {path: text for path, text in before.items() if path != "f/iot/extra.py"}


def test_a_dry_run_writes_nothing(command: CommandLine, folder: Path, tmp_path: Path) -> None:
    """Whatever would be overwritten."""
    command.text("push", folder)
    (folder / "f/t/s.py").write_text("mine\n")
    before = files(folder)
    report = command.json("pull", folder, "--dry-run", "--prune")
    command.text("pull", tmp_path / "new", "--dry-run")

    assert ([each["path"] for each in report["changes"]], report["applied"]) == (["f/t/s.py"], False)
    assert files(folder) == before
    assert not (tmp_path / "new").exists()


def test_what_wmill_yaml_leaves_out_is_not_written(command: CommandLine, folder: Path, tmp_path: Path) -> None:
    """It says which files the folder is about."""
    command.text("push", folder)
    (tmp_path / "new").mkdir()
    (tmp_path / "new/wmill.yaml").write_text("includes: ['f/**']\nskipVariables: true\n")
    report = command.json("pull", tmp_path / "new")

    assert {path.rpartition("/")[2] for path in report["left_out"]} == {
        "inline.variable.yaml", "pem.variable.yaml", "pw.variable.yaml"
    }  # fmt: skip
    assert set(files(tmp_path / "new")) == {
        "wmill.yaml", "f/t/a.mqtt_trigger.yaml", "f/t/broker.resource.yaml", "f/t/s.py"
    }  # fmt: skip


@pytest.mark.parametrize(
    "path",
    ["../out.py", "/etc/out.py", "f/../../out.py", "f//out.py", ".git/hooks/out.py", "f/.ssh/out.py", "f/a\\b.py",
     "f/a\n.py", "Makefile", "f/x.schedule.yaml"],
)  # fmt: skip
def test_a_path_that_no_push_would_read_is_refused(
    command: CommandLine, store: Store, folder: Path, tmp_path: Path, path: str
) -> None:
    """Somebody has written it into Redis; nothing at all is written then."""
    command.text("push", folder)
    version, blob = encode_definition(File(path, "evil"))
    store.command("HSET", keys.DEFINITIONS, version, blob)
    store.command("HSET", keys.DEPLOYED, f"file:{path}", version)
    said = command("pull", tmp_path / "new", "--yes")

    assert (said.status, "no path in a workspace" in said.err) == (1, True)
    assert not (tmp_path / "new").exists()
    assert not [name for name in files(tmp_path) if name.endswith("out.py")]


def test_a_symbolic_link_does_not_lead_out_of_the_folder(command: CommandLine, folder: Path, tmp_path: Path) -> None:
    """A push does not follow it either. A link in the place of a file is replaced, not followed."""
    command.text("push", folder)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "new").mkdir()
    (tmp_path / "new/f").symlink_to(tmp_path / "elsewhere")
    refused = command("pull", tmp_path / "new", "--yes")
    (tmp_path / "target").write_text("mine\n")
    (folder / "f/t/s.py").unlink()
    (folder / "f/t/s.py").symlink_to(tmp_path / "target")
    command.text("pull", folder, "--yes")

    assert (refused.status, "outside of" in refused.err) == (1, True)
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert ((tmp_path / "target").read_text(), (folder / "f/t/s.py").read_text()) == ("mine\n", SCRIPT)


def test_a_file_is_written_whole_and_keeps_its_mode(
    command: CommandLine, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where writing fails, the old one is there as it was, and nothing beside it."""
    (folder / "f/t/b.sh").write_text("echo 1\n")
    command.text("push", folder)
    (folder / "f/t/b.sh").write_text("echo 2\n")
    (folder / "f/t/b.sh").chmod(0o755)
    before = files(folder)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", _no_space)
        failed = command("pull", folder, "--yes")
    assert (failed.status, "No space left" in failed.err) == (1, True)
    assert files(folder) == before

    command.text("pull", folder, "--yes")
    assert (folder / "f/t/b.sh").read_text() == "echo 1\n"
    assert stat.S_IMODE((folder / "f/t/b.sh").stat().st_mode) == 0o755


def test_an_empty_redis_prunes_nothing(command: CommandLine, folder: Path) -> None:
    """It is the wrong one, more likely than not."""
    before = files(folder)
    said = command("pull", folder, "--prune", "--yes")

    assert (said.status, "nothing is deployed" in said.err) == (1, True)
    assert files(folder) == before


def test_the_key_file_is_not_made_by_a_pull(command: CommandLine, folder: Path, tmp_path: Path) -> None:
    """It would be another one than that of the secrets."""
    (folder / "f/t/pw.variable.yaml").write_text("value: plain\n")
    (folder / "f/t/pem.variable.yaml").unlink()
    (folder / "f/t/inline.variable.yaml").unlink()
    command.text("push", folder)
    command.text("pull", tmp_path / "new", "--secrets")

    assert not (tmp_path / "data/secret.key").exists()
    with pytest.raises(Exception, match="there is no key"):
        SecretBox.load(Settings(data=tmp_path / "data"), create=False).open("x", "hr1:")


def _no_space(_descriptor: int) -> None:
    raise OSError(28, "No space left on device")
