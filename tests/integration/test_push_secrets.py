"""Secret variables on their way from a folder to Redis: nobody but the holder of the key can read them there."""

from __future__ import annotations

import asyncio
import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared import keys
from shared.config import Settings
from shared.definitions import File, Variable
from shared.deploy import edit, read_all, read_current, read_now
from shared.errors import SecretError, WorkspaceError
from shared.secrets import SecretBox
from shared.store import AsyncStore, Store
from shared.values import Values, read_values, read_values_async
from shared.workspace.render import variable_yaml
from tests.support.command_line import CommandLine
from tests.support.processes import ROOT
from tests.support.workspaces import trigger_yaml, write_workspace

SECRET = "correct horse battery staple"
SCRIPT = "def main(payload: bytes): ...\n"
BROKER = "resource_type: mqtt\nvalue:\n  broker: 127.0.0.1\n  port: 1883\n  credentials: {{password: '{}'}}\n"
WINDMILL = ROOT / "tests" / "fixtures" / "windmill"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """With the data folder of the test."""
    return Settings(data=tmp_path / "data")


@pytest.fixture
def command(
    redis_url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> CommandLine:
    """The command line on that server, with that data folder."""
    monkeypatch.setenv("HEADRACE_DATA", str(settings.data))
    return CommandLine(redis_url, monkeypatch, capsys)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A workspace whose broker has a secret password."""
    folder = write_workspace(tmp_path / "ws", 1883, {"a": trigger_yaml("s", ("x", 1))}, {"s": SCRIPT})
    (folder / "f/t/broker.resource.yaml").write_text(BROKER.format("$var:f/t/pw"))
    (folder / "f/t/pw.variable.yaml").write_text(f"description: ''\nvalue: {SECRET}\nis_secret: true\n")
    return folder


def everything(store: Store) -> bytes:
    """All that Redis holds, whatever its type, uncompressed."""
    reads = {
        b"string": lambda key: [store.command("GET", key)],
        b"hash": lambda key: [part for pair in store.command("HGETALL", key).items() for part in pair],
        b"list": lambda key: store.command("LRANGE", key, 0, -1),
        b"set": lambda key: list(store.command("SMEMBERS", key)),
        b"zset": lambda key: store.command("ZRANGE", key, 0, -1),
        b"stream": lambda key: [repr(store.command("XRANGE", key, "-", "+")).encode()],
    }
    found = [part for key in store.command("KEYS", "*") for part in (key, *reads[store.command("TYPE", key)](key))]
    assert found
    return b"\n".join(found)


def secret_of(store: Store, settings: Settings, path: str = "f/t/pw") -> str:
    """The value of a deployed variable, opened."""
    return read_values(store, read_now(store), SecretBox.load(settings, create=False)).variable(path)


def file_text(store: Store, path: str) -> str:
    """What is deployed of a file."""
    return read_all(store, {path: read_now(store).of_kind("file")[path]}, File)[path].text


def test_a_secret_is_in_redis_only_sealed(command: CommandLine, store: Store, settings: Settings, folder: Path) -> None:
    """Neither plain in any key, nor in what the command prints; the key is a file of its owner's alone."""
    said = command("push", folder, "--json")
    key_file = settings.data / "secret.key"
    held = everything(store)

    assert said.status == 0, said.err
    assert SECRET not in said.out + said.err
    assert f"note: {key_file} is made" in said.err
    assert SECRET.encode() not in held
    assert key_file.read_bytes().strip() not in held
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert list(settings.data.iterdir()) == [key_file]
    assert secret_of(store, settings) == SECRET


def test_pushing_an_unchanged_secret_changes_nothing(command: CommandLine, store: Store, folder: Path) -> None:
    """A changed one is a changed variable, and its value is not shown."""
    command.text("push", folder)
    again = command.json("push", folder)
    variable = folder / "f/t/pw.variable.yaml"
    variable.write_text(variable.read_text().replace(SECRET, "another staple"))
    changed = command("push", folder)

    assert again["changes"] == []
    assert "changed  variable  f/t/pw  value" in changed.out
    assert b"another staple" not in everything(store)


def test_values_are_read_alike_with_and_without_a_loop(
    command: CommandLine, store: Store, settings: Settings, folder: Path, redis_url: str
) -> None:
    """References put in place, secrets opened and known for masking."""
    command.text("push", folder)

    async def read() -> Values:
        other = AsyncStore.connect(redis_url)
        try:
            return await read_values_async(other, read_now(store), SecretBox.load(settings, create=False))
        finally:
            await other.close()

    for values in (asyncio.run(read()), read_values(store, read_now(store), SecretBox.load(settings, create=False))):
        broker = {"broker": "127.0.0.1", "port": 1883, "credentials": {"password": SECRET}}
        assert values.resolve({"x": ["$res:f/t/broker"]}) == {"x": [broker]}
        assert values.secrets() == {SECRET}


def test_a_dry_run_makes_no_key(command: CommandLine, settings: Settings, folder: Path) -> None:
    """It shows what would be done all the same."""
    report = command.json("push", folder, "--dry-run")

    assert ("created", "variable") in [(each["action"], each["kind"]) for each in report["changes"]]
    assert not settings.data.exists()


def test_the_key_of_the_environment_wins_over_the_file(
    command: CommandLine, store: Store, settings: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file is made then; without that key, the secret stays closed."""
    monkeypatch.setenv("HEADRACE_SECRET_KEY", "sixteen characters or more")
    command.text("push", folder)

    assert not settings.data.exists()
    assert secret_of(store, settings) == SECRET
    monkeypatch.setenv("HEADRACE_SECRET_KEY", "sixteen other characters")
    with pytest.raises(SecretError, match="the secret f/t/pw cannot be opened"):
        secret_of(store, settings)
    monkeypatch.delenv("HEADRACE_SECRET_KEY")
    with pytest.raises(SecretError, match="HEADRACE_SECRET_KEY is not set, and there is no"):
        secret_of(store, settings)


def test_a_machine_without_the_key_of_what_is_deployed_makes_none(
    command: CommandLine, settings: Settings, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would only stand in the way of the right one. A key that is too short is told as such."""
    command.text("push", folder)
    (settings.data / "secret.key").rename(settings.data / "the.key")
    (folder / "f/t/pw.variable.yaml").rename(folder / "f/t/another.variable.yaml")
    (folder / "f/t/broker.resource.yaml").write_text(BROKER.format("$var:f/t/another"))
    missing = command("push", folder)
    monkeypatch.setenv("HEADRACE_SECRET_KEY", "short")
    short = command("push", folder)

    assert (missing.status, short.status) == (1, 1)
    assert "f/t/pw is deployed, and there is no key for secrets here" in missing.err
    assert "HEADRACE_SECRET_KEY holds a key of 5 characters" in short.err
    assert [each.name for each in settings.data.iterdir()] == ["the.key"]


def test_a_key_file_that_others_may_read_is_refused(
    command: CommandLine, store: Store, settings: Settings, folder: Path
) -> None:
    """And nothing is deployed."""
    settings.data.mkdir()
    (settings.data / "secret.key").write_text("sixteen characters or more")
    (settings.data / "secret.key").chmod(0o640)
    status, _, err = command("push", folder)

    assert (status, "others may read the key file" in err, "chmod 600" in err) == (1, True, True)
    assert store.command("HLEN", keys.DEPLOYED) == 0


def test_processes_that_need_a_key_at_once_get_the_same_one(settings: Settings) -> None:
    """The file is complete or not there."""
    boxes = [SecretBox.load(settings, create=True, env={}) for _ in range(8)]
    with ThreadPoolExecutor(len(boxes)) as pool:
        derived = set(pool.map(lambda box: box.derive(b"run tokens"), boxes))

    assert len(derived) == 1
    assert [file.name for file in settings.data.iterdir()] == ["secret.key"]


def test_a_file_without_the_secret_keeps_it(
    command: CommandLine, store: Store, settings: Settings, folder: Path
) -> None:
    """So a folder can be shared without its secrets; the first push has to have them."""
    variable = folder / "f/t/pw.variable.yaml"
    text = variable.read_text()
    variable.write_text("description: mine\nis_secret: true\n")
    refused = command("push", folder)
    variable.write_text(text)
    command.text("push", folder)
    variable.write_text("description: mine\nis_secret: true\n")
    changed = command("push", folder)
    variable.write_text(file_text(store, "f/t/pw.variable.yaml"))

    assert (refused.status, "none is deployed that could be kept" in refused.err) == (1, True)
    assert "changed  variable  f/t/pw  description" in changed.out
    assert command.json("push", folder)["changes"] == []
    assert secret_of(store, settings) == SECRET


def test_a_reference_to_nothing_is_refused_with_the_nearest_name(command: CommandLine, folder: Path) -> None:
    """What is deployed beside the folder counts, unless it is pruned by the same push."""
    (folder / "f/t/broker.resource.yaml").write_text(BROKER.format("$var:f/t/wp"))
    mistaken = command("push", folder)
    (folder / "f/t/broker.resource.yaml").write_text(BROKER.format("$var:f/t/pw"))
    command.text("push", folder)
    (folder / "f/t/pw.variable.yaml").unlink()
    kept, pruned = command("push", folder), command("push", folder, "--prune", "-y")

    assert "f/t/broker.resource.yaml:5: value.credentials.password: there is no variable f/t/wp" in mistaken.err
    assert "did you mean f/t/pw?" in mistaken.err
    assert kept.status == 0, kept.err
    assert (pruned.status, "there is no variable f/t/pw" in pruned.err) == (1, True)


def test_an_edit_changes_one_file_of_what_is_deployed(
    command: CommandLine, store: Store, settings: Settings, folder: Path
) -> None:
    """Everything else stays, its versions included; who did it stands in the list of deployments."""
    command.text("push", folder, "-m", "a first try")
    before = read_now(store).versions
    name = "f/t/pw.variable.yaml"
    text = variable_yaml(Variable("f/t/pw", "the new staple", is_secret=True))
    pushed = edit(store, settings, {name: text, "f/t/new.variable.yaml": "value: x\n"}, "run q2-1")
    after = read_now(store).versions
    records = [entry.decode() for entry in store.command("LRANGE", keys.DEPLOYMENTS, 0, -1)]

    assert (pushed.applied, pushed.number) == (True, 2)
    assert [(each.action, each.name) for each in pushed.plan.changes] == [
        ("created", "variable:f/t/new"),
        ("changed", "variable:f/t/pw"),
    ]
    assert {key for key, version in after.items() if before.get(key) != version} == {
        "variable:f/t/pw", "variable:f/t/new", "file:f/t/new.variable.yaml"
    }  # fmt: skip
    assert secret_of(store, settings) == "the new staple"
    assert b"the new staple" not in everything(store)
    assert '"author":"run q2-1"' in records[0]
    assert '"message":"a first try"' in records[1]
    assert '"author":"push by ' in records[1]


def test_an_edit_deletes_what_it_names_and_nothing_else(
    command: CommandLine, store: Store, settings: Settings, folder: Path
) -> None:
    """One that would break the workspace changes nothing."""
    (folder / "f/t/more.py").write_text(SCRIPT)
    command.text("push", folder)
    edit(store, settings, {"f/t/more.py": None}, "me")

    assert set(read_current(store, create_id=False).scripts) == {"f/t/s"}
    assert read_now(store).number == 2
    with pytest.raises(WorkspaceError, match=r"there is no script f/t/s\.py"):
        edit(store, settings, {"f/t/s.py": None}, "me")
    with pytest.raises(WorkspaceError, match="there is no variable f/t/pw"):
        edit(store, settings, {"f/t/pw.variable.yaml": None}, "me")
    assert not edit(store, settings, {"f/t/s.py": SCRIPT}, "me").applied
    assert read_now(store).number == 2


def test_a_workspace_of_windmill_pushes_as_it_is(
    command: CommandLine, store: Store, settings: Settings, tmp_path: Path
) -> None:
    """Without an error, and a second time without a change; what we don't use is listed as skipped."""
    report = command.json("push", WINDMILL)
    again = command.json("push", WINDMILL)
    created = {f"{change['kind']}:{change['path']}" for change in report["changes"]}

    assert created == {
        "broker:f/iot/broker", "flow:f/iot/cold", "flow:f/iot/hot", "resource:f/iot/db", "resource:f/iot/ticket",
        "script:f/iot/ask", "script:f/iot/backup", "script:f/iot/on_alarm", "script:f/iot/on_error",
        "script:f/iot/on_temp", "script:f/iot/same", "script:f/iot/version", "trigger:f/iot/alarm",
        "trigger:f/iot/temp", "variable:f/iot/mqtt_password", "variable:f/iot/site", "file:f/iot/folder.meta.yaml",
        "file:f/iot/on_temp__mod/helper.py", "file:mqtt.resource-type.yaml", "file:c_ticket.resource-type.yaml",
    }  # fmt: skip
    assert (again["changes"], again["applied"]) == ([], False)
    skipped = {"f/iot/legacy.go", "f/iot/nightly.schedule.yaml", "f/iot/board__app/button.py", "u/alice/mine.py"}
    skipped |= {str(file.relative_to(WINDMILL)) for file in (WINDMILL / "f/other").iterdir()}
    skipped |= {"f/iot/queue.kafka_trigger.yaml", "f/iot/temp.staging.mqtt_trigger.yaml", "encryption_key.yaml"}
    assert skipped <= set(report["skipped"])
    assert {each["key"] for each in report["notes"]} == {"", "includeTriggers"}
    assert secret_of(store, settings, "f/iot/mqtt_password").startswith("Yl8x")
    copy = tmp_path / "copy"
    for path, file in read_all(store, read_now(store).of_kind("file"), File).items():
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        (copy / path).write_text(file.text)
        assert file.text == (WINDMILL / path).read_text() or path == "f/iot/mqtt_password.variable.yaml"
    assert command.json("push", copy)["changes"] == []


def test_a_file_alone_is_shown_only_where_no_definition_tells_of_it(
    command: CommandLine, store: Store, tmp_path: Path
) -> None:
    """A comment, a folder's metadata; a module is told by its scripts. Files go with their definition."""
    folder = tmp_path / "ws"
    shutil.copytree(WINDMILL, folder)
    command.text("push", folder)
    with (folder / "f/iot/temp.mqtt_trigger.yaml").open("a") as file:
        file.write("# a comment\n")
    (folder / "f/iot/folder.meta.yaml").write_text("summary: new\n")
    (folder / "f/iot/log.ts").write_text("export const log = print;\n")
    (folder / "f/iot/on_temp.script.yaml").unlink()
    changes = command.json("push", folder)["changes"]

    assert {(each["action"], each["kind"], each["path"]) for each in changes} == {
        ("changed", "script", "f/iot/on_alarm"),
        ("changed", "script", "f/iot/on_temp"),
        ("changed", "trigger", "f/iot/alarm"),
        ("changed", "trigger", "f/iot/temp"),
        ("changed", "file", "f/iot/folder.meta.yaml"),
    }
    assert "f/iot/on_temp.script.yaml" not in read_now(store).of_kind("file")
    with (folder / "f/iot/temp.mqtt_trigger.yaml").open("a") as file:
        file.write("# another\n")
    assert [each["kind"] for each in command.json("push", folder)["changes"]] == ["file"]


def test_what_wmill_yaml_leaves_out_is_not_pruned(command: CommandLine, store: Store, tmp_path: Path) -> None:
    """It may be somebody else's."""
    folder, other = tmp_path / "ws", tmp_path / "other"
    shutil.copytree(WINDMILL, folder)
    write_workspace(other, 1883, {"a": trigger_yaml("s", ("x", 1))}, {"s": SCRIPT})
    (folder / "wmill.yaml").write_text("includes: ['f/iot/**']\n")
    command.text("push", other)
    command.text("push", folder)
    (folder / "f/iot/backup.sh").unlink()
    changes = command.json("push", folder, "--prune", "-y")["changes"]

    assert [(each["action"], each["path"]) for each in changes] == [("deleted", "f/iot/backup")]
    assert "f/t/s" in read_current(store, create_id=False).scripts
