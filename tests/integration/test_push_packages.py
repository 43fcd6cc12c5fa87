"""Packages of scripts at a push: resolved when they change, installed before anything is deployed."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.cli_common import settings
from shared.definitions import Script
from shared.deploy import edit, read_current
from shared.store import Store
from tests.support.command_line import CommandLine
from tests.support.wheels import PackageFolder
from tests.support.workspaces import trigger_yaml, write_workspace

SCRIPT = "import tank\ndef main(payload: bytes): return tank.LITRES\n"


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PackageFolder:
    """What uv can have, here and nowhere else: tank, which needs pump."""
    packages = PackageFolder(tmp_path / "packages")
    packages.add("tank", "1.0", "LITRES = 1000", requires=("pump",))
    packages.add("pump", "1.0", "")
    for name, value in packages.environment.items():
        monkeypatch.setenv(name, value)
    return packages


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A workspace with two scripts, one of which needs a package."""
    scripts = {"s": SCRIPT, "plain": "def main(): ..."}
    return write_workspace(tmp_path / "ws", 1883, {"a": trigger_yaml("s", ("x", 1))}, scripts)


@pytest.fixture
def command(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> CommandLine:
    """The command line on that server."""
    monkeypatch.setenv("HEADRACE_DATA", str(tmp_path / "data"))
    return CommandLine(redis_url, monkeypatch, capsys)


def script(store: Store, name: str = "s") -> Script:
    """As deployed."""
    return read_current(store, create_id=False).scripts[f"f/t/{name}"]


def installed(tmp_path: Path) -> list[str]:
    """Modules of our packages in the environments of this machine."""
    modules = tmp_path.glob("data/cache/envs/*/lib/*/site-packages/*.py")
    return sorted(path.name for path in modules if not path.name.startswith("_"))


@pytest.mark.usefixtures("packages")
def test_a_push_resolves_and_installs_what_scripts_import(
    command: CommandLine, store: Store, folder: Path, tmp_path: Path
) -> None:
    """With all that it needs in turn; a script without needs has no lock."""
    said = command("push", folder)

    assert said.status == 0, said.err
    assert "resolving packages: tank" in said.err
    assert (script(store).requirements, script(store).lock) == (["tank"], "pump==1.0\ntank==1.0")
    assert (script(store, "plain").lock, script(store, "plain").python) == ("", "")
    assert installed(tmp_path) == ["pump.py", "tank.py"]


def test_a_push_without_new_needs_asks_nobody(
    command: CommandLine, store: Store, folder: Path, packages: PackageFolder
) -> None:
    """Nothing changed, other code with the same needs, another script with the same needs."""
    assert command("push", folder).status == 0
    packages.remove_all()

    assert command.json("push", folder)["applied"] is False
    (folder / "f/t/s.py").write_text(SCRIPT + "# and more\n")
    (folder / "f/t/also.py").write_text(SCRIPT)
    assert command.json("push", folder)["applied"] is True
    assert script(store).lock == script(store, "also").lock == "pump==1.0\ntank==1.0"


def test_upgrade_resolves_anew(command: CommandLine, store: Store, folder: Path, packages: PackageFolder) -> None:
    """Otherwise a newer package changes nothing."""
    assert command("push", folder).status == 0
    packages.add("tank", "2.0", "LITRES = 2000")
    assert command.json("push", folder)["applied"] is False

    report = command.json("push", folder, "--upgrade")

    assert [change["details"] for change in report["changes"] if change["kind"] == "script"] == [["lock"]]
    assert script(store).lock == "tank==2.0"


@pytest.mark.usefixtures("packages")
def test_what_cannot_be_resolved_is_told_where_it_stands(command: CommandLine, store: Store, folder: Path) -> None:
    """With uv's reason; nothing is deployed."""
    (folder / "f/t/other.py").write_text("# requirements:\n# pump\n# valve==7\ndef main(): ...\n")

    said = command("push", folder)

    assert said.status == 1
    assert "f/t/other.py:3: valve==7: valve was not found in the provided package locations" in said.err
    assert "nothing was deployed" in said.err
    assert read_current(store, create_id=False).deployed.number == 0


def test_what_cannot_be_installed_leaves_the_previous_version(
    command: CommandLine, store: Store, folder: Path, packages: PackageFolder
) -> None:
    """Resolving went well, and building does not; a dry run does not install."""
    assert command("push", folder).status == 0
    packages.add_unbuildable("valve", "1.0")
    (folder / "f/t/s.py").write_text("import valve\n" + SCRIPT)
    assert command("push", folder, "--dry-run").status == 0

    said = command("push", folder)

    assert said.status == 1
    assert "f/t/s.py: packages cannot be installed: Failed to build `valve==1.0`" in said.err
    assert "no compiler here" in said.err
    assert script(store).lock == "pump==1.0\ntank==1.0"
    assert read_current(store, create_id=False).deployed.number == 1


def test_a_lock_beside_the_script_is_taken_as_it_is(
    command: CommandLine, store: Store, folder: Path, packages: PackageFolder
) -> None:
    """Nobody is asked what it comes to; without the file uv is."""
    (folder / "f/t/s.script.lock").write_text("# py: 3.11\npump==1.0\n")
    assert command("push", folder).status == 0
    assert (script(store).lock, script(store).requirements) == ("pump==1.0", [])

    (folder / "f/t/s.script.lock").unlink()
    packages.add("tank", "3.0", "LITRES = 3000")
    assert command("push", folder).status == 0
    assert script(store).lock == "tank==3.0"


def test_an_edit_of_something_else_keeps_every_lock(
    command: CommandLine, store: Store, folder: Path, packages: PackageFolder
) -> None:
    """Whatever can be had by now."""
    assert command("push", folder).status == 0
    packages.remove_all()

    edit(store, settings(), {"f/t/v.variable.yaml": "value: x\n"}, "a test")

    assert script(store).lock == "pump==1.0\ntank==1.0"


def test_builds_are_handed_no_secret_of_ours(
    command: CommandLine, folder: Path, packages: PackageFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Building a package executes what its author wrote."""
    monkeypatch.setenv("HEADRACE_SECRET_KEY", "not for the authors of packages")
    named = "[name for name in os.environ if name == 'UV_CONFIG_FILE' or name.startswith(('HEADRACE', 'REDIS'))]"
    packages.add_unbuildable("valve", "1.0", raising=f"' '.join({named})")
    (folder / "f/t/s.py").write_text("import valve\n" + SCRIPT)

    said = command("push", folder)

    assert "UV_CONFIG_FILE" in said.err
    assert "HEADRACE" not in said.err
    assert "REDIS_URL" not in said.err
