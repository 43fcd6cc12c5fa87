"""The generator of the reference pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared import docs
from shared.docs import verbs
from shared.errors import InternalError
from shared.scripts.call import all_scripts


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


def test_every_verb_is_on_the_page() -> None:
    """A Lua file without a stub, or a stub in a module that the page does not know, would be missing."""
    assert sorted(verbs.all_verbs()) == sorted(script.name for script in all_scripts())


def test_the_header_of_a_verb_is_read_part_by_part() -> None:
    """Arguments may go on over lines, and a note may follow."""
    source = """\
-- Put a thing away,
-- for good.
-- KEYS  1 shelf  2 list of <things>
-- ARGV  1 thing
--       2 now in ms
--       then per label: name,
--       colour
-- -> 1 put away | 0 there already
-- invariant: never twice. cost: O(1)
-- It may take a while.
return 1
"""

    assert verbs.read_header("put", source) == verbs.Header(
        summary="Put a thing away, for good.",
        keys="1 shelf  2 list of <things>",
        arguments="1 thing  2 now in ms  then per label: name, colour",
        returns="1 put away | 0 there already",
        invariant="never twice.",
        cost="O(1)",
        note="It may take a while.",
    )


def test_a_verb_without_its_invariant_is_refused() -> None:
    """What a verb guarantees is not left to the reader of its code."""
    with pytest.raises(InternalError, match=r"put\.lua"):
        verbs.read_header("put", "-- Put a thing away.\n-- KEYS  1 shelf\n-- -> 1\nreturn 1\n")
