"""Script versions on disk."""

from __future__ import annotations

import multiprocessing
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from shared.errors import WorkspaceError
from worker.runners.base import ScriptFiles
from worker.runners.materialise import materialise

MODULES = {"f/iot/on_temp.py": "def main(payload): pass\n", "f/lib/units.py": "GRAD = 'Grad ü'\r\n"}
ENTRY = "f/iot/on_temp.py"


def test_a_script_lies_under_its_version_as_it_was_deployed(tmp_path: Path) -> None:
    """Byte for byte, in UTF-8; the second time nothing is written."""
    files = materialise(tmp_path / "cache", "0a1b", MODULES, ENTRY, has_preprocessor=True)
    root = tmp_path / "cache" / "0a1b"

    assert files == ScriptFiles("0a1b", str(root), str(root / ENTRY), has_preprocessor=True)
    assert {path: (root / path).read_bytes().decode() for path in MODULES} == MODULES
    before = root.stat()

    assert materialise(tmp_path / "cache", "0a1b", MODULES, ENTRY, has_preprocessor=True) == files
    assert root.stat() == before
    assert [path.name for path in root.parent.iterdir()] == ["0a1b"]


@pytest.mark.parametrize(
    "path",
    ["../out.py", "/etc/out.py", "f/../../out.py", "f/./a.py", "f//a.py", "f/", "", ".", "a\0.py", "f\\a.py"],
)
def test_a_path_that_is_not_plain_is_refused(tmp_path: Path, path: str) -> None:
    """Nothing is written, inside or outside."""
    cache = tmp_path / "cache"

    with pytest.raises(WorkspaceError, match="does not stay inside"):
        materialise(cache, "0a1b", {**MODULES, path: ""}, ENTRY)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("version", ["", "..", "a/b", ".new-1"])
def test_a_version_that_is_no_content_hash_is_refused(tmp_path: Path, version: str) -> None:
    """It names a folder."""
    with pytest.raises(WorkspaceError, match="not a content hash"):
        materialise(tmp_path, version, MODULES, ENTRY)


def test_a_script_must_be_among_its_modules(tmp_path: Path) -> None:
    """Else there would be nothing to run."""
    with pytest.raises(WorkspaceError, match="not among its own modules"):
        materialise(tmp_path, "0a1b", MODULES, "f/iot/other.py")


def test_a_path_cannot_be_file_and_folder(tmp_path: Path) -> None:
    """And the half of a script is not left behind."""
    with pytest.raises(WorkspaceError, match="both a file and a folder"):
        materialise(tmp_path, "0a1b", {**MODULES, "f/lib": ""}, ENTRY)

    assert list(tmp_path.iterdir()) == []


ROUNDS = 30


def _write_versions(folder: Path, together: Barrier, counts: Queue[int]) -> None:
    modules = {**MODULES, **{f"f/m{number}.py": "x = 1\n" * 100 for number in range(20)}}
    for number in range(ROUNDS):
        together.wait()
        files = materialise(folder, f"v{number}", modules, ENTRY)
        counts.put(len(list(Path(files.root).rglob("*.py"))))


def test_workers_that_write_the_same_version_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    """Each sees all of it, and one folder is left."""
    context = multiprocessing.get_context("spawn")
    together, counts = context.Barrier(3, timeout=60), context.Queue()
    workers = [context.Process(target=_write_versions, args=(tmp_path, together, counts)) for _ in range(3)]
    for worker in workers:
        worker.start()

    seen = [counts.get(timeout=60) for _ in range(3 * ROUNDS)]

    for worker in workers:
        worker.join()
    assert set(seen) == {22}
    assert {path.name for path in tmp_path.iterdir()} == {f"v{number}" for number in range(ROUNDS)}
