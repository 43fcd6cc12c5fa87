"""The generator of the reference pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared import docs


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page that is rendered from one sentence."""
    path = tmp_path / "docs" / "reference" / "page.md"
    monkeypatch.setattr(docs, "FOLDER", path.parent)
    monkeypatch.setattr(docs, "PAGES", [(path, lambda: "A sentence.\n")])
    return path


def test_a_stale_page_fails_the_check_with_its_name_and_the_remedy(
    page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Checking says what to run and changes nothing."""
    assert docs.main(["--check"]) == 1

    assert capsys.readouterr().err == "docs/reference/page.md is not current; run: python -m shared.docs\n"
    assert not page.exists()


def test_writing_makes_the_check_pass_until_the_page_is_edited(page: Path) -> None:
    """A page is what the code renders, and nothing else."""
    assert docs.main([]) == 0
    assert page.read_text(encoding="utf-8") == "A sentence.\n"
    assert docs.main(["--check"]) == 0

    page.write_text("Another sentence.\n", encoding="utf-8")
    assert docs.main(["--check"]) == 1


def test_other_arguments_are_wrong_usage(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is written by mistake."""
    assert docs.main(["--chekc"]) == 2

    assert "usage" in capsys.readouterr().err
    assert not page.exists()
