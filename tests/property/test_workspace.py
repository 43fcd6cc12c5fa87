"""Whatever stands in the files of a workspace, it is read or refused with its mistakes told; nothing else happens."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import WorkspaceError
from shared.workspace import check_files
from shared.workspace.files import Files, read_folder
from shared.workspace.layout import SETTINGS
from shared.workspace.problems import Problems
from shared.workspace.selection import read_selection

PLANT = Path(__file__).parents[2] / "examples" / "plant"
TEXTS = dict(read_folder(PLANT, Problems()).texts) | {
    SETTINGS: (PLANT / SETTINGS).read_text(),
    "headrace.yaml": "error_handler: f/plant/raise_alarm\nerror_handler_args:\n  channel: ops\n",
}
ODD = [
    "null", "true", "[]", "{}", "{a: b}", "''", "-1", "1e400", ".nan", "9" * 30, "$var:x", "$res:", "!inline x",
    "!inline", "? a", "&a", "*a", "|", "- x", "\t", ": ", "x: y", "<<: *a", "\x00", "é", "a/#/b", "2026-01-02",
    "12:30:00", "0x1F",
    "!!binary x", "!!set {a}", "!!bool maybe", "!!int x", "!!float x", "!!timestamp x", "%", "@", "---", "...",
    "\u2028", "def main(", "\\",
]  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn) -> dict[str, str]:
    """The plant, with one to three lines of it changed, moved, doubled or gone."""
    texts = dict(TEXTS)
    for _ in range(draw(st.integers(1, 3))):
        file = draw(st.sampled_from(sorted(texts)))
        lines = texts[file].split("\n")
        place, other = draw(st.integers(0, len(lines) - 1)), draw(st.integers(0, len(lines) - 1))
        word, line = draw(st.sampled_from(ODD)), lines[place]
        column = draw(st.integers(0, len(line)))
        lines[place : place + 1] = draw(
            st.sampled_from(
                [
                    [f"{line.partition(':')[0]}: {word}"],
                    [line[:column] + word + line[column:]],
                    [word, line],
                    [lines[other], line],
                    ["  " + line],
                    [],
                ]
            )
        )
        texts[file] = "\n".join(lines)
    return texts


@settings(max_examples=200, deadline=None)
@given(damaged())
def test_a_damaged_file_is_read_or_refused(texts: dict[str, str]) -> None:
    """With a place for every problem."""
    problems = Problems()
    selection = read_selection(texts[SETTINGS], problems)
    files = Files({file: text for file, text in texts.items() if file != SETTINGS}, [], selection)
    with suppress(WorkspaceError):
        check_files(files, "the folder", problems)

    assert all(problem.file in texts and problem.message for problem in problems.errors)
