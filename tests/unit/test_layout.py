"""The shape of the source: what no linter checks."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ["ingest", "dispatch", "worker", "shared", "console"]
LONGEST_FILE = 400


@pytest.mark.parametrize("package", PACKAGES)
def test_no_file_has_outgrown_its_subject(package: str) -> None:
    """A file that is longer than anybody reads in one go holds two things, or more."""
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in (ROOT / package).rglob("*.py")
    }

    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FILE} == {}


def test_the_procfile_names_the_processes_that_are_scaled() -> None:
    """`honcho start --concurrency worker=4 ingest dispatch worker` and service files rely on these names."""
    names = [line.split(":", 1)[0] for line in (ROOT / "Procfile").read_text().splitlines()]

    assert {"ingest", "dispatch", "worker", "console", "redis", "broker"} <= set(names)
