"""The mode in a trigger's file: one line changes, the rest of the text stays byte for byte."""

from __future__ import annotations

import pytest

from shared.errors import UserError
from shared.workspace.mode_line import with_mode

FILE = "f/t/a.mqtt_trigger.yaml"


@pytest.mark.parametrize(
    "before, after",
    [
        ("a: 1\nmode: enabled # why\nb: 2\n", "a: 1\nmode: suspended # why\nb: 2\n"),
        ('a: 1\r\nmode: "enabled"\r\n', "a: 1\r\nmode: suspended\r\n"),
        ("a: 1\nmode:\nb: 2", "a: 1\nmode: suspended\nb: 2"),
        ("# head\nenabled: false   # off\nb: 2\n", "# head\nmode: suspended   # off\nb: 2\n"),
        ("mode: enabled\nenabled: true\nb: |\n  mode: enabled\n", "mode: suspended\nb: |\n  mode: enabled\n"),
        ("enabled: true\nb: 1\nmode: disabled\n", "b: 1\nmode: suspended\n"),
        ("# head\n\na: 1\nb:\n  mode: x\n", "# head\n\nmode: suspended\na: 1\nb:\n  mode: x\n"),
        ("---\n  a: 1\n  b: ü\n...\n", "---\n  mode: suspended\n  a: 1\n  b: ü\n...\n"),
    ],
)
def test_only_the_mode_changes(before: str, after: str) -> None:
    """Comments, order, quotes and line ends of everything else stay."""
    assert with_mode(FILE, before, "suspended") == after


@pytest.mark.parametrize("text", ["{a: 1, mode: enabled}\n", "- a\n", "a: [\n", "mode: [enabled]\n"])
def test_a_file_that_is_written_in_another_way_is_refused(text: str) -> None:
    """Rather than changed by guessing; the hint says what to write."""
    with pytest.raises(UserError) as refused:
        with_mode(FILE, text, "suspended")
    assert "mode: suspended" in (refused.value.hint or "")
