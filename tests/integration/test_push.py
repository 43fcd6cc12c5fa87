"""`headrace push` against a real server: from a folder on disk to what is deployed."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from shared import keys
from shared.cli_common import wait_for_redis
from shared.definitions import Broker, Script, Trigger
from shared.deploy import Options, push, read_current
from shared.store import Store
from shared.workspace import read_workspace
from shared.workspace.plan import Plan
from tests.support.command_line import CommandLine
from tests.support.ports import free_port
from tests.support.valkey import ValkeyServer
from tests.support.workspaces import trigger_yaml, write_workspace

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPT = "def main(payload: bytes): ...\n"


class Terminal(io.StringIO):
    """What a person types."""

    def isatty(self) -> bool:
        """It is one."""
        return True


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A workspace with one trigger."""
    return write_workspace(tmp_path / "ws", 1883, {"a": trigger_yaml("s", ("x", 1))}, {"s": SCRIPT})


@pytest.fixture
def command(redis_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """The command line on that server."""
    return CommandLine(redis_url, monkeypatch, capsys)


def test_a_push_deploys_the_folder_and_a_second_one_nothing(command: CommandLine, store: Store, folder: Path) -> None:
    """Everything in one step, under content hashes; the same again has nothing to do."""
    first = command.json("push", folder)
    second = command.json("push", folder)
    current = read_current(store, create_id=False)

    assert (first["deployment"], first["applied"], len(first["changes"])) == (1, True, 3)
    assert (second["deployment"], second["applied"], second["changes"]) == (1, False, [])
    assert isinstance(current.triggers["f/t/a"], Trigger)
    assert isinstance(current.scripts["f/t/s"], Script)
    assert isinstance(current.brokers["f/t/broker"], Broker)
    assert current.triggers["f/t/a"].client_id == f"headrace-{current.deployment_id}-f-t-a"
    assert store.command("LLEN", keys.DEPLOYMENTS) == 1


def test_a_dry_run_writes_nothing(command: CommandLine, store: Store, folder: Path) -> None:
    """Not even the id of the installation."""
    report = command.json("push", folder, "--dry-run")

    assert (report["applied"], report["dry_run"], len(report["changes"])) == (False, True, 3)
    assert store.command("DBSIZE") == 0


def test_prune_deletes_what_the_folder_no_longer_holds(command: CommandLine, store: Store, folder: Path) -> None:
    """Without it, that is kept and said."""
    (folder / "f/t/b.mqtt_trigger.yaml").write_text(trigger_yaml("s", ("y", 2)))
    command.json("push", folder)
    (folder / "f/t/b.mqtt_trigger.yaml").unlink()
    kept = command("push", folder)[1]
    report = command.json("push", folder, "--prune")

    assert "not in this folder, kept (--prune deletes): trigger f/t/b" in kept
    assert [(change["action"], change["path"]) for change in report["changes"]] == [("deleted", "f/t/b")]
    assert set(read_current(store, create_id=False).triggers) == {"f/t/a"}


@pytest.mark.parametrize("answer, left", [("n", {"f/t/a", "f/t/b"}), ("y", {"f/t/a"})])
def test_a_person_is_asked_before_something_is_deleted(
    command: CommandLine, store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch, answer: str, left: set[str]
) -> None:
    """Only at a terminal; who says no has deployed nothing."""
    (folder / "f/t/b.mqtt_trigger.yaml").write_text(trigger_yaml("s", ("y", 2)))
    command.text("push", folder)
    (folder / "f/t/b.mqtt_trigger.yaml").unlink()
    monkeypatch.setattr("sys.stdin", Terminal(f"{answer}\n"))
    said = command("push", folder, "--prune")

    assert "Delete 1 of what is deployed?" in said.err
    assert said.status == (0 if answer == "y" else 1)
    assert set(read_current(store, create_id=False).triggers) == left


def test_a_folder_with_mistakes_deploys_nothing(command: CommandLine, store: Store, folder: Path) -> None:
    """All of them are told on stderr, with file and line; the exit status is 1."""
    (folder / "f/t/a.mqtt_trigger.yaml").write_text(trigger_yaml("t", ("x/#/y", 1)) + "mod: enabled\n")
    (folder / "f/t/s.py").write_bytes(b"\xff\xfe")
    status, out, err = command("push", folder)

    assert (status, out) == (1, "")
    for place in ("f/t/s.py: not UTF-8", "a.mqtt_trigger.yaml:1: script_path", ":6: subscribe_topics[0]", ":8: mod"):
        assert place in err
    assert store.command("DBSIZE") == 0


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_a_script_that_bash_cannot_read_is_refused(
    command: CommandLine, store: Store, folder: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """With its line; what it would do is not done."""
    mark = tmp_path / "executed"
    (folder / "f/t/x.sh").write_text(f"touch {mark}\nif true; then\n  echo ')\n")
    (folder / "f/t/y.sh").write_text('payload="$1"\necho "${payload:-nothing}"\n')
    said = command("push", folder, *options)

    assert said.status == 1
    assert "1 problem in bash scripts, nothing was deployed\n  f/t/x.sh:3: unexpected EOF while looking for" in said.err
    assert store.command("HLEN", keys.DEPLOYED) == 0
    assert not mark.exists()


def test_mistakes_are_told_to_programs_too(command: CommandLine, folder: Path) -> None:
    """As JSON on stdout, beside the text for people."""
    (folder / "f/t/a.mqtt_trigger.yaml").write_text(trigger_yaml("s", ("x", 1)) + "mod: enabled\n")
    said = command("push", folder, "--json")

    assert said.status == 1
    report = json.loads(said.out)
    assert (report["applied"], report["error"]) == (False, f"1 problem in {folder}, nothing was deployed")
    (problem,) = report["problems"]
    place = {name: problem[name] for name in ("file", "line", "key", "message", "hint")}
    assert place == {
        "file": "f/t/a.mqtt_trigger.yaml",
        "line": 8,
        "key": "mod",
        "message": "unknown key",
        "hint": "did you mean mode?",
    }


def test_a_key_that_is_no_expression_is_refused(command: CommandLine, folder: Path) -> None:
    """With what is wrong with it, and where; one that is an expression is deployed as it stands."""
    trigger = folder / "f/t/a.mqtt_trigger.yaml"
    trigger.write_text(trigger_yaml("s", ("x", 1), extra="idempotency_key: payload.(\n"))
    refused = command("push", folder)
    trigger.write_text(trigger_yaml("s", ("x", 1), extra="idempotency_key: payload.id ?? topic\n"))

    assert "a.mqtt_trigger.yaml:8: idempotency_key: not an expression" in refused.err
    assert "line 1, column 9" in refused.err
    assert command("push", folder).status == 0


def test_warnings_go_to_stderr_and_do_not_stop_a_push(command: CommandLine, folder: Path) -> None:
    """Data stays on stdout."""
    (folder / "f/t/a.mqtt_trigger.yaml").write_text(
        trigger_yaml("s", ("x", 1), extra="v5_config: {clean_start: true}\n")
    )
    (folder / "f/t/b.mqtt_trigger.yml").write_text("")
    status, out, err = command("push", folder)

    assert (status, "created" in out) == (0, True)
    assert "warning: f/t/a.mqtt_trigger.yaml:8: v5_config: clean_start is true" in err
    assert "name it b.mqtt_trigger.yaml" in err


def test_what_is_no_part_of_a_workspace_is_passed_over(folder: Path) -> None:
    """Hidden folders, caches and virtual environments without a word; the rest is listed as skipped."""
    for name in (".git/a.py", "__pycache__/b.py", "venv/pyvenv.cfg", "venv/c.py", "notes/todo.md", "f/t/x.script.lock"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("(")

    assert read_workspace(folder).skipped == ["f/t/x.script.lock", "notes/todo.md"]


def test_a_deployment_that_comes_between_is_taken_into_account(store: Store, folder: Path, tmp_path: Path) -> None:
    """The plan is made again against it, and both are there in the end."""
    other = write_workspace(tmp_path / "other", 1883, {"b": trigger_yaml("s", ("y", 1))}, {"s": SCRIPT})
    seen: list[int] = []

    def approve(plan: Plan) -> bool:
        seen.append(plan.against)
        if len(seen) == 1:
            push(store, read_workspace(other), Options(60), lambda _plan: True)
        return True

    result = push(store, read_workspace(folder), Options(60), approve)

    assert (seen, result.number, result.applied) == ([0, 1], 2, True)
    assert set(read_current(store, create_id=False).triggers) == {"f/t/a", "f/t/b"}


def test_a_plan_that_is_not_approved_is_not_applied(store: Store, folder: Path) -> None:
    """Nothing but the installation's id is written."""
    result = push(store, read_workspace(folder), Options(60), lambda _plan: False)

    assert (result.number, result.applied) == (0, False)
    assert store.command("HLEN", keys.DEPLOYED) == 0


def test_an_identity_is_chosen_once_and_kept(command: CommandLine, store: Store, folder: Path) -> None:
    """Through changes of the file, and by a rename that is pushed with --prune."""
    command.json("push", folder)
    first = read_current(store, create_id=False).triggers["f/t/a"]
    (folder / "f/t/a.mqtt_trigger.yaml").write_text(trigger_yaml("s", ("x", 2)))
    command.json("push", folder)
    (folder / "f/t/a.mqtt_trigger.yaml").rename(folder / "f/t/renamed.mqtt_trigger.yaml")
    report = command.json("push", folder, "--prune")
    last = read_current(store, create_id=False).triggers

    assert [(change["action"], change["was"]) for change in report["changes"]] == [("renamed", "f/t/a")]
    assert list(last) == ["f/t/renamed"]
    assert (last["f/t/renamed"].session, last["f/t/renamed"].client_id) == (first.session, first.client_id)


def test_a_push_waits_for_a_redis_that_is_not_up_yet(tmp_path: Path) -> None:
    """A process manager starts them together; it says once what it waits for."""
    said: list[str] = []
    with ValkeyServer(tmp_path / "late") as server:

        def start_server(text: str) -> None:
            said.append(text)
            server.start()

        late = Store.connect(server.url)
        wait_for_redis(late, server.url, 30, start_server)

        assert late.command("PING")
        assert len(said) == 1
        assert f"waiting for Redis at {server.url}" in said[0]


def test_a_redis_that_never_comes_is_an_error_with_a_hint(
    folder: Path, command: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the time given, which may be none."""
    monkeypatch.setenv("REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    status, _, err = command("push", folder, "--wait", 0)

    assert (status, "check REDIS_URL" in err) == (1, True)


@pytest.mark.parametrize("arguments", [[], ["/no/such/folder"], ["--no-such-option", "."]])
def test_wrong_usage_is_exit_status_2(command: CommandLine, arguments: list[str]) -> None:
    """Told apart from what went wrong with a right one."""
    assert command("push", *arguments)[0] == 2


def test_the_example_is_a_workspace_without_a_warning() -> None:
    """It is the first that people see."""
    workspace = read_workspace(ROOT / "examples" / "hello")

    assert {file.trigger.path for file in workspace.triggers} == {"f/demo/hello", "f/demo/temperature"}
    assert workspace.warnings == []
