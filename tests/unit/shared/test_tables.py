"""Text for terminals."""

from __future__ import annotations

import pytest

from shared.tables import Column, clip, columns_of, duration, number, printable, printable_lines, size, table


def test_a_table_keeps_its_columns() -> None:
    """Numbers stand right, nothing trails."""
    text = table([Column("NAME"), Column("COUNT", "right"), Column("NOTE")], [("a", "5", ""), ("longer", "1 234", "x")])

    assert text.split("\n") == ["NAME    COUNT  NOTE", "a           5", "longer  1 234  x"]


def test_a_table_without_titles_has_no_head() -> None:
    """Lists of pairs."""
    assert table([Column(""), Column("")], [("a", "b")]) == "a  b"


def test_the_widest_column_that_may_gives_way() -> None:
    """The others stay readable."""
    columns = [Column("ID"), Column("TOPIC", shrink=True), Column("RESULT", shrink=True)]
    lines = table(columns, [("q1-abc", "plant/north/line/7/temperature", "x" * 12)], width=40).split("\n")

    assert [columns_of(line) for line in lines] == [34, 40]
    assert lines[1] == "q1-abc  plant/north/line/…  xxxxxxxxxxxx"


def test_wide_characters_keep_the_columns_straight() -> None:
    """CJK takes two columns, a combining accent none."""
    text = table([Column("A"), Column("B")], [("温度", "x"), ("e\u0301tat", "y")])

    assert [columns_of(line) for line in text.split("\n")[1:]] == [7, 7]
    assert clip("温度計", 4) == "温…"


def test_nothing_that_a_message_brings_reaches_the_terminal_as_control() -> None:
    """Escape sequences in topics and logs are shown, not obeyed."""
    assert printable("a\x1b[2Jb\x9bc\nd") == "a\\x1b[2Jb\\x9bc\\nd"
    assert printable_lines("one\ttab\ntwo\x07") == "one\ttab\ntwo\\x07"


@pytest.mark.parametrize(
    "ms, text",
    [
        (None, "–"),
        (0, "0 ms"),
        (0.25, "250 µs"),
        (4.26, "4.26 ms"),
        (999, "999 ms"),
        (1500, "1.5 s"),
        (59_900, "59.9 s"),
        (125_000, "2 min 5 s"),
        (7_260_000, "2 h 1 min"),
        (90_000_000, "1 d 1 h"),
    ],
)
def test_durations_read_well(ms: float | None, text: str) -> None:
    """With the units that people use."""
    assert duration(ms) == text


def test_sizes_and_numbers_read_well() -> None:
    """Powers of 1024; groups of three digits."""
    assert [size(n) for n in (None, 0, 1023, 1536, 3 * 1024**2)] == ["–", "0 B", "1023 B", "1.5 KiB", "3.0 MiB"]
    assert number(1_234_567) == "1 234 567"
