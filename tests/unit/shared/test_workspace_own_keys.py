"""What Windmill's tools do not know of a script: in its metadata, or in a block of its code."""

from __future__ import annotations

import pytest

from shared.definitions import Script
from shared.retry_policy import ConstantRetry
from shared.workspace import check_files
from shared.workspace.files import Files
from shared.workspace.problems import Problems
from shared.workspace.render import yaml_text
from shared.workspace.scripts import read_scripts

MAIN = "def main(payload): ...\n"
BLOCK = """\
# headrace:
#   isolation: fresh
#   memory_mib: 64
#   retry: {constant: {attempts: 2, seconds: 5}}
# requirements:
# httpx
"""


def read(problems: Problems, **files: str) -> Script:
    """The script f/a/s of these files; in a name `__` stands for a dot."""
    return read_scripts({f"f/a/{name.replace('__', '.')}": text for name, text in files.items()}, problems).scripts[
        "f/a/s"
    ]


@pytest.mark.parametrize(
    "file, source",
    [
        ("s__py", f'"""Says what it does."""\n\n{BLOCK}\n{MAIN}'),
        ("s__py", f"{BLOCK}{MAIN}".replace("# ", "#", 1)),
        ("s__sh", f'#!/bin/bash\n{BLOCK}payload="$1"\n'),
        ("s__ts", f"{BLOCK}export function main(payload) {{}}\n".replace("#", "//")),
    ],
)
def test_a_block_of_the_code_says_what_metadata_may_say(file: str, source: str) -> None:
    """In every language, with metadata beside it or without; what is not indented ends it."""
    problems = Problems()
    for beside in ({}, {"s__script__yaml": "summary: x\noutput_bytes: 9\n"}):
        found = read(problems, **{file: source}, **beside)
        assert (found.isolation, found.memory_mib, found.output_bytes) == ("fresh", 64, 9 if beside else None)
        assert found.retry is not None
        assert found.retry.constant == ConstantRetry(2, 5)
    assert (problems.errors, problems.warnings) == ([], [])


def test_where_block_and_metadata_differ_the_block_counts() -> None:
    """And a warning names the key of the metadata."""
    problems = Problems()
    found = read(problems, s__py=BLOCK + MAIN, s__script__yaml="isolation: fresh\nmemory_mib: 65\n")

    assert found.memory_mib == 64
    assert [(each.file, each.line, each.key) for each in problems.warnings] == [("f/a/s.script.yaml", 2, "memory_mib")]
    assert "the headrace block of f/a/s.py" in problems.warnings[0].message


@pytest.mark.parametrize(
    "block, line, said",
    [
        ("# headrace:\n# isolation: fresh\n", 2, "holds no keys"),
        ("# headrace:\n#   isolation: cold\n", 3, "'cold', expected one of warm, fresh"),
        ("# headrace:\n#   isolated: true\n", 3, "unknown key"),
        ("# headrace:\n#   isolation: fresh: warm\n", 3, "not YAML"),
        ("# headrace:\n#   isolation: fresh\n\n# headrace:\n#   memory_mib: 1\n", 5, "the first one is in line 2"),
        ("# headrace:\n#   - isolation\n", 2, "expected keys under it"),
    ],
)
def test_a_block_that_says_nothing_that_is_known_is_an_error(block: str, line: int, said: str) -> None:
    """In its line of the code."""
    problems = Problems()
    read(problems, s__py="import json\n" + block + MAIN)

    (error,) = problems.errors
    assert (error.file, error.line, said in error.message) == ("f/a/s.py", line, True)


def test_a_block_in_a_step_of_a_flow_is_warned_of() -> None:
    """It counts for scripts alone."""
    step = {"type": "rawscript", "language": "python3", "content": BLOCK + MAIN, "input_transforms": {}}
    flow = yaml_text({"summary": "s", "value": {"modules": [{"id": "b", "value": step}]}})
    problems = Problems()
    check_files(Files({"f/a/x.flow/flow.yaml": flow}, []), "here", problems)

    (warning,) = problems.warnings
    assert "line 1: a headrace block counts in a script, not in a step" in warning.message
