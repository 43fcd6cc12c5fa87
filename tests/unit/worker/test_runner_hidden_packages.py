"""Headrace's own packages are not to be found by user code, wherever they were installed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from worker.runners.child.headrace_child.isolation import HiddenPackages

OURS = str(Path(__file__).resolve().parents[3])


def test_our_packages_are_not_found_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even when their folder is on the path, as it is when Headrace is installed as a wheel."""
    monkeypatch.setattr(sys, "path", [OURS, *sys.path])
    finder = HiddenPackages(("dispatch", "worker"), OURS)

    with pytest.raises(ModuleNotFoundError, match="No module named 'dispatch'"):
        finder.find_spec("dispatch", None)


def test_a_package_of_that_name_elsewhere_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The user's own wins, also from behind ours."""
    (tmp_path / "dispatch.py").touch()
    monkeypatch.setattr(sys, "path", [OURS, str(tmp_path)])

    spec = HiddenPackages(("dispatch",), OURS).find_spec("dispatch", None)

    assert spec is not None
    assert spec.origin == str(tmp_path / "dispatch.py")


def test_other_names_and_modules_inside_packages_are_left_to_python() -> None:
    """Only top-level names are ours."""
    finder = HiddenPackages(("dispatch", "worker"), OURS)

    assert finder.find_spec("json", None) is None
    assert finder.find_spec("plant.worker", ["/somewhere"]) is None
