"""`headrace push --watch`: each change of the folder is deployed until somebody presses Ctrl-C."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.deploy import read_current, read_now
from shared.store import Store
from tests.support.eventually import eventually
from tests.support.processes import HeadraceProcess
from tests.support.workspaces import trigger_yaml, write_workspace

SCRIPT = "def main(payload: bytes): ...\n"
Watch = Callable[..., HeadraceProcess]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A workspace with a trigger and a script."""
    return write_workspace(tmp_path / "ws", 1883, {"a": trigger_yaml("s", ("x", 1))}, {"s": SCRIPT})


@pytest.fixture
def watch(redis_url: str, headrace: Callable[..., HeadraceProcess], store: Store, folder: Path) -> Watch:
    """Starts it, and waits until the folder is deployed."""

    def start(*options: str) -> HeadraceProcess:
        process = headrace("push", str(folder), "--watch", *options, REDIS_URL=redis_url)
        eventually(lambda: read_now(store).number == 1)
        return process

    return start


def scripts(store: Store) -> dict[str, str]:
    """The source of the deployed scripts, by path."""
    return {path: script.modules[script.entry] for path, script in read_current(store, create_id=False).scripts.items()}


def test_a_change_is_deployed_and_a_mistake_is_shown(watch: Watch, store: Store, folder: Path) -> None:
    """The next change mends it; Ctrl-C ends it without a word."""
    process = watch()
    (folder / "f/t/s.py").write_text("def main(x): ...\n")
    eventually(lambda: scripts(store) == {"f/t/s": "def main(x): ...\n"})
    (folder / "f/t/s.py").write_text("def main(:\n")
    eventually(lambda: "error: 1 problem" in process.output)
    (folder / "f/t/s.py").write_text("def main(y): ...\n")
    eventually(lambda: scripts(store) == {"f/t/s": "def main(y): ...\n"})
    before = process.output
    process.send(signal.SIGINT)

    assert process.wait() == 0
    assert process.output == before
    assert read_now(store).number == 3


def test_only_prune_deletes(watch: Watch, store: Store, folder: Path) -> None:
    """As without --watch. A folder that is moved is seen too."""
    watch("--prune", "--yes")
    (folder / "f/t/more.py").write_text(SCRIPT)
    eventually(lambda: "f/t/more" in scripts(store))
    (folder / "f/t/more.py").unlink()
    eventually(lambda: "f/t/more" not in scripts(store))
    (folder / "f/u").mkdir()
    (folder / "g").mkdir()
    (folder / "f/u/moved.py").write_text(SCRIPT)
    eventually(lambda: "f/u/moved" in scripts(store))
    (folder / "f/u").rename(folder / "g/u")
    eventually(lambda: "g/u/moved" in scripts(store) and "f/u/moved" not in scripts(store))


def test_what_is_gone_is_kept_without_prune(watch: Watch, store: Store, folder: Path) -> None:
    """And what is no part of the workspace starts nothing. With --json each push is a line."""
    process = watch("--json")
    (folder / "f/t/more.py").write_text(SCRIPT)
    eventually(lambda: "f/t/more" in scripts(store))
    (folder / "f/t/more.py").unlink()
    (folder / ".git").mkdir()
    (folder / ".git/index").write_text("")
    (folder / "notes.md").write_text("")
    (folder / "f/t/s.py").write_text("def main(x): ...\n")
    eventually(lambda: scripts(store)["f/t/s"] == "def main(x): ...\n")
    reports = eventually(lambda: [json.loads(line) for line in process.output.splitlines() if line.startswith("{")])

    assert "f/t/more" in scripts(store)
    assert reports[-1]["kept"] == [{"kind": "script", "path": "f/t/more"}]


def test_a_change_of_the_code_of_a_flow_is_deployed(watch: Watch, store: Store, folder: Path) -> None:
    """A new flow too; a change of tests is none."""
    watch()
    flow = folder / "f/t/hot.flow"
    flow.mkdir()
    (flow / "a.py").write_text(SCRIPT)
    step = "{id: a, value: {type: rawscript, language: python3, content: '!inline a.py'}}"
    (flow / "flow.yaml").write_text(f"value: {{modules: [{step}]}}\n")
    eventually(lambda: "f/t/hot" in read_current(store, create_id=False).flows)
    number = read_now(store).number
    (folder / "f/t/hot.test.yaml").write_text("tests: []\n")
    (flow / "a.py").write_text(SCRIPT + "\n")
    eventually(lambda: read_now(store).number == number + 1)
