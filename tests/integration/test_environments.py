"""Environments on disk: made once, complete or not there, removed when nothing has used them for long."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.dependencies.environments import UNUSED_S, Environments
from shared.errors import ConfigError, WorkspaceError
from tests.support.eventually import eventually
from tests.support.processes import Child, headrace_env
from tests.support.wheels import PackageFolder

LOCK = "tank==1.0"
MAKE = "import sys; from shared.dependencies.environments import Environments; from pathlib import Path; {before}; \
Environments(Path(sys.argv[1]), sys.executable).prepare(sys.argv[2])"
HANG = "import os, time, shared.dependencies.environments as e; e.os.sync = lambda: time.sleep(3600)"


@pytest.fixture(autouse=True)
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PackageFolder:
    """What uv can have, here and nowhere else."""
    packages = PackageFolder(tmp_path / "packages")
    packages.add("tank", "1.0", "LITRES = 1000")
    for name, value in packages.environment.items():
        monkeypatch.setenv(name, value)
    return packages


@pytest.fixture
def environments(tmp_path: Path) -> Environments:
    """An empty folder of environments."""
    return Environments(tmp_path / "envs", sys.executable)


def folders(tmp_path: Path) -> list[str]:
    """Whatever lies there, but for the files that processes lock."""
    return [path.name for path in (tmp_path / "envs").iterdir() if path.suffix != ".lock"]


def test_an_environment_is_made_once(environments: Environments, packages: PackageFolder, tmp_path: Path) -> None:
    """Then it is there without uv, for this lock and no other."""
    assert environments.find(LOCK) is None
    made = environments.prepare(LOCK)
    packages.remove_all()

    assert (made / "tank.py").read_text() == "LITRES = 1000"
    assert list(made.glob("__pycache__/tank.*.pyc"))
    assert environments.prepare(LOCK) == environments.find(LOCK) == made
    assert environments.find("tank==2.0") is None
    assert len(folders(tmp_path)) == 1


def test_what_cannot_be_installed_leaves_nothing_behind(
    environments: Environments, packages: PackageFolder, tmp_path: Path
) -> None:
    """And says why; later it can be tried again."""
    packages.add_unbuildable("pump", "1.0")
    with pytest.raises(WorkspaceError, match=r"packages cannot be installed: Failed to build .*no compiler here"):
        environments.prepare("tank==1.0\npump==1.0")
    with pytest.raises(WorkspaceError, match=r"there is no version of tank==2\.0"):
        environments.prepare("tank==2.0")
    assert folders(tmp_path) == []

    packages.add("tank", "2.0", "LITRES = 2000")
    assert (environments.prepare("tank==2.0") / "tank.py").exists()


def test_a_crash_in_the_middle_leaves_nothing_that_is_taken_for_complete(
    environments: Environments, tmp_path: Path
) -> None:
    """The next one removes what it left, and makes it."""
    command = [sys.executable, "-c", MAKE.format(before=HANG), str(tmp_path / "envs"), LOCK]
    with Child(command, tmp_path / "log", env=headrace_env(os.environ), cwd=tmp_path).start() as child:
        eventually(lambda: list((tmp_path / "envs").glob(".new-*/lib/*/site-packages/tank.py")))
        child.kill9()
    (draft,) = folders(tmp_path)

    assert draft.startswith(".new-")
    assert environments.find(LOCK) is None
    assert (environments.prepare(LOCK) / "tank.py").exists()
    assert folders(tmp_path) == [draft.removeprefix(".new-")]


def test_several_at_once_get_the_same_environment(environments: Environments, tmp_path: Path) -> None:
    """Threads of one process, and other processes."""
    command = [sys.executable, "-c", MAKE.format(before="pass"), str(tmp_path / "envs"), LOCK]
    others = [subprocess.Popen(command, env=headrace_env(os.environ), cwd=tmp_path) for _ in range(3)]
    with ThreadPoolExecutor(4) as pool:
        made = set(pool.map(environments.prepare, [LOCK] * 4))

    assert [other.wait(60) for other in others] == [0, 0, 0]
    assert made == {environments.find(LOCK)}
    assert len(folders(tmp_path)) == 1


def test_what_nothing_has_used_for_a_month_is_removed(environments: Environments, tmp_path: Path) -> None:
    """Also what a crash has left half made; to find one is to use it."""
    old, used = environments.prepare(LOCK).parents[2], environments.prepare("tank==1.0\n").parents[2]
    draft = tmp_path / "envs" / ".new-half"
    draft.mkdir()
    long_ago = time.time() - UNUSED_S - 60
    for folder in (old, used, draft):
        os.utime(folder, (long_ago, long_ago))
    environments.find("tank==1.0\n")

    assert set(environments.remove_unused()) == {old, draft}
    assert folders(tmp_path) == [used.name]
    assert (environments.prepare(LOCK) / "tank.py").exists()


@pytest.mark.parametrize("python", ["/nowhere/python3", "/bin/false"])
def test_an_interpreter_that_is_none_is_told(tmp_path: Path, python: str) -> None:
    """By the setting that names it."""
    with pytest.raises(ConfigError, match=f"worker.python is {python}"):
        Environments(tmp_path, python)
